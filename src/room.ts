import { totalmem } from 'node:os'
import { ValetError } from './errors.js'

const MIB = 1024 * 1024
/** Of the memory that this process may have, and never less nor more than: bytes. */
const PART = 1 / 4
const LEAST = 64 * MIB
const MOST = 1024 * MIB
/** Bytes of one call that are not counted: about as much as its connection takes anyhow. */
const SMALL = 16 * 1024

/** Who calls; undefined where anybody may. */
type Holder = { readonly principal: string, readonly agent: string } | undefined

/** Bytes that calls may hold by default: a quarter of what the container or the machine has, from 64 MiB to 1 GiB. */
export function roomHere (): number {
  // Without a limit of its own a process is told none, or one beyond all memory.
  const constrained = process.constrainedMemory()
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
  return Math.min(MOST, Math.max(LEAST, Math.floor(memory * PART)))
}

/**
 * The memory for what all calls together hold: bodies, which a replay must be able to send again, and answers that are
 * read before they go on. Each agent may hold as much as it leaves free for the others: one alone comes to half of it, and
 * whoever comes after it finds room.
 */
export class Room {
  #size: number
  #taken = 0
  readonly #held = new Map<string, number>()

  /** @param size bytes */
  constructor (size: number) {
    this.#size = size
  }

  /** One call alone shall be able to hold this much. @param bytes */
  fit (bytes: number): void {
    this.#size = Math.max(this.#size, 2 * bytes)
  }

  share (holder: Holder): Share {
    return new Share(this, holder)
  }

  /** @throws {ValetError} ERR_OVERLOADED; then nothing is taken */
  take (holder: Holder, bytes: number): void {
    const name = nameOf(holder)
    const held = this.#held.get(name) ?? 0
    if (held + bytes > this.#size - this.#taken - bytes) {
      const cause = `no room for ${shown(bytes)} more: the calls of this agent hold ${shown(held)} already, and those of all ${shown(this.#taken)} of ${shown(this.#size)}`
      throw new ValetError('ERR_OVERLOADED', { cause, retryAfter: 1 })
    }
    this.#held.set(name, held + bytes)
    this.#taken += bytes
  }

  give (holder: Holder, bytes: number): void {
    const name = nameOf(holder)
    const held = (this.#held.get(name) ?? 0) - bytes
    this.#taken -= bytes
    if (held > 0) this.#held.set(name, held)
    else this.#held.delete(name)
  }
}

/** What one call holds. */
export class Share {
  readonly #room: Room
  readonly #holder: Holder
  readonly #parts = { request: 0, answer: 0 }
  #taken = 0
  #ended = false

  constructor (room: Room, holder: Holder) {
    this.#room = room
    this.#holder = holder
  }

  /**
   * @param bytes that it holds of this part from now on, in place of what it held of it before
   * @throws {ValetError} ERR_OVERLOADED where there is no room for more; then it holds what it held before
   */
  hold (part: 'request' | 'answer', bytes: number): void {
    if (this.#ended) return
    const whole = this.#parts.request + this.#parts.answer - this.#parts[part] + bytes
    const more = (whole > SMALL ? whole : 0) - this.#taken
    if (more > 0) this.#room.take(this.#holder, more)
    if (more < 0) this.#room.give(this.#holder, -more)
    this.#taken += more
    this.#parts[part] = bytes
  }

  end (): void {
    this.hold('request', 0)
    this.hold('answer', 0)
    this.#ended = true
  }
}

function shown (bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`
}

function nameOf (holder: Holder): string {
  return holder === undefined ? '' : JSON.stringify([holder.principal, holder.agent])
}
