import type { Clock } from '../clock.js'

/**
 * The result, if it is there by then; it is not cancelled.
 * @param deadline milliseconds on the clock's monotonic scale
 * @param late what to reject with where it is not
 */
export async function within<T> (clock: Clock, result: Promise<T>, deadline: number, late: () => Error): Promise<T> {
  let cancel = (): void => {}
  const tooLate = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(deadline - clock.elapsed(), () => reject(late()))
  })
  try {
    return await Promise.race([result, tooLate])
  } finally {
    cancel()
  }
}
