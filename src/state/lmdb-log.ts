import type { Clock } from '../clock.js'
import type { Database } from './lmdb-file.js'

/** Milliseconds after which another process's write is told of, at the latest. */
const POLL_MS = 200
/** Entries that are kept; who falls further behind is told that anything may have changed. */
const KEPT = 1_024

const LAST = '~seq'
const entry = (sequence: number): string => `~log/${String(sequence).padStart(16, '0')}`

/** The last changes, in the same environment as the records, so that one is there exactly when the other is. */
export class ChangeLog {
  readonly #database: Database
  readonly #writer: string
  readonly #clock: Clock
  readonly #listeners = new Set<(key: string | undefined) => void>()
  #read = 0
  #stop: (() => void) | undefined

  /** @param writer tells this store's own changes from those of others */
  constructor (database: Database, writer: string, clock: Clock) {
    this.#database = database
    this.#writer = writer
    this.#clock = clock
  }

  /** Within the transaction of the change itself. */
  append (key: string): void {
    const sequence = this.#last() + 1
    this.#database.putSync(LAST, Buffer.from(String(sequence)))
    this.#database.putSync(entry(sequence), Buffer.from(`${this.#writer} ${key}`))
    this.#database.removeSync(entry(sequence - KEPT))
  }

  watch (listener: (key: string | undefined) => void): () => void {
    if (this.#listeners.size === 0) this.#begin()
    // A function of its own, so that one given twice is told twice and ended once.
    const told = (key: string | undefined): void => listener(key)
    this.#listeners.add(told)
    return () => {
      this.#listeners.delete(told)
      if (this.#listeners.size === 0) this.close()
    }
  }

  close (): void {
    this.#stop?.()
    this.#listeners.clear()
  }

  #begin (): void {
    this.#database.resetReadTxn()
    this.#read = this.#last()
    this.#later()
  }

  #later (): void {
    this.#stop = this.#clock.after(POLL_MS, () => {
      try {
        for (const key of this.#news()) this.#tell(key)
      } catch {
        // A file that cannot be read is told of by the next call that needs it.
        this.#tell(undefined)
      }
      if (this.#listeners.size > 0) this.#later()
    })
  }

  #news (): Array<string | undefined> {
    this.#database.resetReadTxn()
    const last = this.#last()
    if (last === this.#read) return []
    const keys: Array<string | undefined> = last - this.#read > KEPT || last < this.#read ? [undefined] : this.#since(this.#read + 1, last)
    this.#read = last
    return keys
  }

  #since (first: number, last: number): string[] {
    const keys = new Set<string>()
    for (const { value } of this.#database.getRange({ start: entry(first), end: entry(last + 1) })) {
      const [writer, key] = halves(value.toString())
      if (writer !== this.#writer) keys.add(key)
    }
    return [...keys]
  }

  #last (): number {
    return Number(this.#database.getBinary(LAST)?.toString() ?? 0)
  }

  #tell (key: string | undefined): void {
    for (const listener of this.#listeners) {
      try {
        listener(key)
      } catch {
        // A listener that fails is no reason for others not to hear.
      }
    }
  }
}

function halves (text: string): [string, string] {
  const at = text.indexOf(' ')
  return [text.slice(0, at), text.slice(at + 1)]
}
