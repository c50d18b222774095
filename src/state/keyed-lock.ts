import type { Lease } from './store.js'

/** Within one process a lock is held until it is given back. */
const HELD: Lease = { lost: new AbortController().signal, held: () => true }

/** Runs work under one key one after the other, and under different keys side by side. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>()

  async run<T> (key: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const mine = before.then(async () => await work(HELD))
    const settled = mine.catch(() => {})
    this.#tails.set(key, settled)
    try {
      return await mine
    } finally {
      if (this.#tails.get(key) === settled) this.#tails.delete(key)
    }
  }
}
