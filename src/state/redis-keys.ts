/** What a message tells of a key. */
const WRITTEN = 'w'
const RELEASED = 'r'

/**
 * Names in Redis. All keys of one prefix carry the same hash tag, so that a cluster keeps them on one node: a script may
 * touch several of them, and what is kept here is small.
 */
export class RedisKeys {
  readonly #base: string
  readonly #store: string
  /** Channels know no databases. */
  readonly channel: string
  readonly format: string

  /** @param store who writes, as every listener hears its own messages too */
  constructor (prefix: string, db: number, store: string) {
    this.#base = `${prefix}{state}:`
    this.#store = store
    this.channel = `${this.#base}~changes/${db}`
    this.format = `${this.#base}~format`
  }

  record (key: string): string {
    return this.#base + key
  }

  lease (key: string): string {
    return `${this.#base}~lease/${key}`
  }

  last (key: string): string {
    return `${this.#base}~last/${key}`
  }

  /** @returns undefined for the store's own */
  keyOf (record: string): string | undefined {
    const key = record.slice(this.#base.length)
    return key.startsWith('~') ? undefined : key
  }

  /** A pattern of `SCAN` for the records whose keys begin so. */
  pattern (prefix: string): string {
    return `${(this.#base + prefix).replaceAll(/[\\*?[\]]/g, '\\$&')}*`
  }

  /** @param key '' where Redis is to append it */
  written (key: string): string {
    return `${this.#store} ${WRITTEN}${key}`
  }

  released (key: string): string {
    return `${this.#store} ${RELEASED}${key}`
  }

  /** What another store has told; undefined for this one's own messages, and for what is none. */
  read (message: string): { written: string } | { released: string } | undefined {
    const at = message.indexOf(' ')
    const key = message.slice(at + 2)
    if (at === -1 || message.slice(0, at) === this.#store) return undefined
    if (message[at + 1] === WRITTEN) return { written: key }
    return message[at + 1] === RELEASED ? { released: key } : undefined
  }
}
