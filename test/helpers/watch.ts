const PATIENCE_MS = 30_000

/** Lets a test wait for what happens, instead of for time to pass. */
export class Watch<T> {
  readonly #watchers = new Set<(item: T) => void>()
  readonly #patience: number

  /** @param patience milliseconds that only a hang takes */
  constructor (patience = PATIENCE_MS) {
    this.#patience = patience
  }

  tell (item: T): void {
    for (const watcher of this.#watchers) watcher(item)
  }

  /** Resolves with the first item that fits, of `past` or from now on; rejects when patience ends. */
  async until (fits: (item: T) => boolean, past: readonly T[] = [], patience = this.#patience): Promise<T> {
    const there = past.find(fits)
    if (there !== undefined) return there
    return await new Promise<T>((resolve, reject) => {
      const watcher = (item: T): void => {
        if (!fits(item)) return
        clearTimeout(timer)
        this.#watchers.delete(watcher)
        resolve(item)
      }
      const timer = setTimeout(() => {
        this.#watchers.delete(watcher)
        reject(new Error(`nothing that fits has happened: ${fits.toString()}`))
      }, patience)
      this.#watchers.add(watcher)
    })
  }
}
