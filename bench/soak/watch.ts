import { histogramQuantile, observations, readHistogram, since, type Histogram } from '../lib/histogram.js'
import { total } from './series.js'
import type { Heap, Stand } from './sidecar.js'
import type { World } from './world.js'

const OVERHEAD = 'mcp_valet_overhead_seconds'

/** Of the calls that waited for no renewal. Milliseconds. */
export interface Overhead { readonly calls: number, readonly p50: number, readonly p99: number }

/** How things stood at one moment. Counts since the start; overhead since the sample before. */
export interface Sample extends Stand {
  /** Seconds since the start. */
  readonly at: number
  readonly calls: number
  readonly injected: number
  readonly ours: number
  readonly refreshes: number
  readonly replays: number
  readonly streams: number
  readonly heap: Heap | undefined
  readonly overhead: Histogram | undefined
}

/** @throws where the sidecar gives no metrics, or is gone */
export async function look (world: World, started: number): Promise<Sample> {
  const metrics = await world.sidecar.metrics()
  const { ledger, sidecar } = world
  return {
    at: (performance.now() - started) / 1000,
    calls: ledger.calls,
    injected: ledger.injected,
    ours: ledger.ours,
    refreshes: total(metrics, 'mcp_valet_token_refresh_total', 'outcome="ok"'),
    replays: total(metrics, 'mcp_valet_replays_total'),
    streams: total(metrics, 'mcp_valet_streams'),
    heap: sidecar.heap(),
    overhead: readHistogram(metrics.split('\n').filter((line) => line.includes('refreshed="false"')).join('\n'), OVERHEAD),
    ...sidecar.stand(),
  }
}

/** Of what was observed between two samples. */
export function overheadOf (now: Sample | undefined, before?: Sample): Overhead | undefined {
  if (now?.overhead === undefined) return undefined
  const own = since(now.overhead, before?.overhead)
  if (observations(own) === 0) return undefined
  return { calls: observations(own), p50: histogramQuantile(own, 0.5) * 1000, p99: histogramQuantile(own, 0.99) * 1000 }
}
