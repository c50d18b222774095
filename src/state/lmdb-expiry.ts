import type { Clock } from '../clock.js'
import type { StateFile } from './lmdb-file.js'

/** Milliseconds between two rounds. */
const ROUND_MS = 10 * 60_000
/** Records that are looked at before others get their turn. */
const SLICE = 1_000
const NAMES = '~ttl/'

/** When each record may be forgotten, as LMDB itself keeps everything for ever. */
export class Expiry {
  readonly #file: StateFile
  readonly #clock: Clock
  #stop: (() => void) | undefined

  constructor (file: StateFile, clock: Clock) {
    this.#file = file
    this.#clock = clock
  }

  /** Within the transaction of the record's own write. @param expiresAt milliseconds since the epoch; undefined for never */
  set (key: string, expiresAt: number | undefined): void {
    if (expiresAt !== undefined) this.#file.database.putSync(NAMES + key, Buffer.from(String(expiresAt)))
    else if (this.#file.database.doesExist(NAMES + key)) this.#file.database.removeSync(NAMES + key)
  }

  /** Forgets what is over, now and from time to time, until `close`. */
  begin (): void {
    this.#slice(NAMES)
  }

  close (): void {
    this.#stop?.()
  }

  #slice (start: string): void {
    let next: string | undefined
    try {
      next = this.#forget(start)
      // Slots of readers that were killed would keep old pages from being used again.
      if (next === undefined) this.#file.database.readerCheck()
    } catch {
      // What is too full to delete from is told of by the next write; the next round tries again.
    }
    this.#stop = this.#clock.after(next === undefined ? ROUND_MS : 1, () => this.#slice(next ?? NAMES))
  }

  /** @returns where to go on, undefined at the end */
  #forget (start: string): string | undefined {
    this.#file.database.resetReadTxn()
    const entries = [...this.#file.database.getRange({ start, end: `${NAMES}\u{10ffff}`, limit: SLICE })].map(({ key, value }) => ({ name: key, at: Number(value.toString()) }))
    const over = entries.filter(({ at }) => at <= this.#clock.now())
    if (over.length > 0) {
      this.#file.transact(0, () => {
        for (const { name, at } of over) {
          // It may have been written anew, for longer.
          if (Number(this.#file.database.getBinary(name)?.toString()) !== at) continue
          this.#file.database.removeSync(name)
          this.#file.database.removeSync(name.slice(NAMES.length))
        }
      })
    }
    const last = entries.at(-1)
    return entries.length < SLICE ? undefined : `${last?.name as string}\0`
  }
}
