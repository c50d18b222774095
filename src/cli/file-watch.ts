import { stat } from 'node:fs/promises'
import { pause, type Clock } from '../clock.js'

/** Milliseconds between two looks. */
const EVERY = 1_000
/** Of the time at most a twentieth is spent on looking, however many files there are, unless a look takes half a second. */
const SHARE = 20
const LONGEST = 10_000
/** Files that are looked at side by side. */
const AT_ONCE = 16

export interface FileWatchOptions {
  readonly clock: Clock
  /** The files to look after, asked before each look. */
  readonly files: () => Iterable<string>
  /** Told of files that have changed, once a change has come to rest: who writes a file may take a moment. */
  readonly onChange: (changed: ReadonlySet<string>) => Promise<void>
  readonly stop: AbortSignal
  readonly everyMs?: number
  /** As `lookAt` found them before they were read; unless given, what is there now. */
  readonly known?: ReadonlyMap<string, string>
}

/**
 * Looks after files by looking at them: on mounts of containers and networks, and through the symbolic links by which
 * Kubernetes swaps what it mounts, nobody tells of a change. Never rejects.
 */
export async function watchFiles ({ clock, files, onChange, stop, everyMs = EVERY, known: first }: FileWatchOptions): Promise<void> {
  let known = first ?? await lookAt(files())
  const moving = new Map<string, string>()
  while (!stop.aborted) {
    const began = clock.elapsed()
    const now = await lookAt(files())
    const looking = clock.elapsed() - began
    const settled = new Set<string>()
    for (const [path, state] of now) {
      const before = known.get(path)
      // A file that is new here has just been read.
      if (before === undefined || before === state) moving.delete(path)
      else if (moving.get(path) === state) {
        settled.add(path)
        moving.delete(path)
      } else {
        moving.set(path, state)
        now.set(path, before)
      }
    }
    known = now
    if (settled.size > 0) await onChange(settled)
    await pause(clock, Math.max(everyMs, Math.min(LONGEST, SHARE * looking)), stop)
  }
}

/** @returns path → what tells a change of that file. Never rejects. */
export async function lookAt (paths: Iterable<string>): Promise<Map<string, string>> {
  const states = new Map<string, string>()
  const left = [...new Set(paths)]
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let path = left.pop(); path !== undefined; path = left.pop()) states.set(path, await stateOf(path))
  }))
  return states
}

async function stateOf (path: string): Promise<string> {
  try {
    const found = await stat(path)
    const { dev, ino, size, mtimeMs, ctimeMs } = found
    // A config from a pipe (`-c <(…)`) can be read but once.
    return !found.isFile() ? 'no file' : `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`
  } catch {
    return 'absent'
  }
}
