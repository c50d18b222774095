import { systemClock, type Clock } from '../../src/clock.js'

export interface TestClock extends Clock {
  /** Moves the wall clock, as an operator or NTP would; timers do not notice. */
  jump (ms: number): void
}

/**
 * The system's clock, `speed` times as fast: an hour of token life passes in a second at 3600, over real sockets.
 * Randomness is fixed, so that windows begin where the test expects them.
 */
export function testClock (options: { speed?: number, random?: number } = {}): TestClock {
  const { speed = 1, random = 0 } = options
  const wallStart = Date.now()
  const start = performance.now()
  let offset = 0
  const passed = (): number => (performance.now() - start) * speed
  return {
    now: () => wallStart + passed() + offset,
    elapsed: passed,
    random: () => random,
    after: (ms, callback) => systemClock.after(ms / speed, callback),
    jump (ms) { offset += ms },
  }
}
