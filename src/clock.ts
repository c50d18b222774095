/** Time and chance, handed in so that a test can own them. */
export interface Clock {
  /** Wall-clock milliseconds since the epoch. */
  now (): number
  /** Milliseconds that never go backwards, for durations. */
  elapsed (): number
  /** 0 ≤ x < 1. */
  random (): number
  /** Calls back once after `ms`, however long that is; the function it returns cancels. Keeps no process alive. */
  after (ms: number, callback: () => void): () => void
}

/** What setTimeout can hold; a longer delay would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  elapsed: () => performance.now(),
  random: () => Math.random(),
  after (ms, callback) {
    let left = Math.max(0, ms)
    let timer: NodeJS.Timeout
    const arm = (): void => {
      const step = Math.min(left, LONGEST_TIMER)
      left -= step
      timer = setTimeout(() => { left > 0 ? arm() : callback() }, step)
      timer.unref()
    }
    arm()
    return () => {
      // Of timers that keep no process alive Node leaves a list behind for each length of time, until that has passed. The calls of
      // a session that ends in a day would leave millions.
      timer.ref()
      clearTimeout(timer)
    }
  },
}

/** Resolves after `ms`, or as soon as `signal` is aborted. */
export function pause (clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const done = (): void => {
      cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancel = clock.after(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
