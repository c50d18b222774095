import { median } from '../lib/stats.js'
import type { Sample } from './watch.js'

/** Seconds at the start that are not judged: V8 still compiles, and LMDB's map and the collector's spaces still grow. */
export const WARM_UP = 60

/** Medians of a third of the run. Memory in MiB. */
export interface Third { readonly anon: number, readonly rss: number, readonly heap: number, readonly live: number, readonly descriptors: number, readonly streams: number }

/** The three of them, the warm-up left out; undefined where there are not samples enough. A short run is warm after a tenth of it. */
export function thirds (samples: readonly Sample[]): [Third, Third, Third] | undefined {
  const end = samples.at(-1)?.at ?? 0
  const begin = Math.min(WARM_UP, end / 10)
  const part = (n: number): Sample[] => samples.filter(({ at }) => at > begin + (end - begin) * n / 3 && at <= begin + (end - begin) * (n + 1) / 3)
  const parts = [part(0), part(1), part(2)] as const
  if (parts.some(({ length }) => length < 2)) return undefined
  return parts.map(third) as [Third, Third, Third]
}

function third (samples: readonly Sample[]): Third {
  const of = (pick: (sample: Sample) => number | undefined): number => median(samples.map(pick).filter((value) => value !== undefined))
  return {
    anon: of(({ anon }) => anon),
    rss: of(({ rss }) => rss),
    heap: of(({ heap }) => heap?.used),
    live: of(({ heap }) => heap?.live),
    descriptors: of(({ descriptors }) => descriptors),
    streams: of(({ streams }) => streams),
  }
}
