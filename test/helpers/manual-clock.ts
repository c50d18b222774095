import type { Clock } from '../../src/clock.js'

export interface ManualClock extends Clock {
  /** Lets time pass: calls what falls due, in order, and lets what that sets going run as far as it gets without I/O. */
  advance (ms: number): Promise<void>
  /** Moves the wall clock alone, as an operator or NTP would. */
  jump (ms: number): void
  /** Timers that wait. */
  readonly timers: number
}

interface Timer { readonly at: number, readonly callback: () => void }

/**
 * A clock that stands still until the test moves it, so that hours of token life take no time and no window is ever
 * missed. Sockets stay real; randomness is fixed.
 */
export function manualClock (options: { random?: number } = {}): ManualClock {
  const { random = 0 } = options
  const timers = new Set<Timer>()
  let elapsed = 0
  // A whole second, so that an HTTP date says it exactly.
  let wall = Math.floor(Date.now() / 1000) * 1000
  const next = (): Timer | undefined => [...timers].sort((a, b) => a.at - b.at)[0]
  return {
    now: () => wall,
    elapsed: () => elapsed,
    random: () => random,
    after (ms, callback) {
      const timer = { at: elapsed + Math.max(0, ms), callback }
      timers.add(timer)
      return () => { timers.delete(timer) }
    },
    async advance (ms) {
      const end = elapsed + ms
      for (let timer = next(); timer !== undefined && timer.at <= end; timer = next()) {
        wall += timer.at - elapsed
        elapsed = timer.at
        timers.delete(timer)
        timer.callback()
        await settled()
      }
      wall += end - elapsed
      elapsed = end
      await settled()
    },
    jump (ms) { wall += ms },
    get timers () { return timers.size },
  }
}

/** Resolves when everything that needs no I/O has run. */
export async function settled (): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}
