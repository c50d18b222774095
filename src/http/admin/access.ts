import { createHash, timingSafeEqual } from 'node:crypto'
import { pause, type Clock } from '../../clock.js'
import { readAdminToken } from '../../config/admin-token.js'
import type { SecretRef } from '../../config/config.js'
import type { Emit } from '../../telemetry/events.js'

/** Milliseconds for which the token is remembered: a rotated file is picked up, and no request costs a look at it. */
const REMEMBERED = 1_000
/** Milliseconds that a wrong token waits for its answer. */
const PENALTY = 500
/** Wrong tokens that wait at once; a stranger must not fill the memory with them. */
const MOST_WAITING = 32

export type Verdict = 'granted' | 'refused' | 'unavailable' | 'off'

export interface AccessOptions {
  /** Where the token is at the moment; undefined where nobody may use it. */
  readonly token: () => SecretRef | undefined
  readonly clock: Clock
  readonly emit: Emit
}

/** Who may use the admin API: whoever shows the token that is at its place in the config at the moment. */
export class Access {
  readonly #options: AccessOptions
  #digest: Buffer | undefined
  /** Where that one was read: another config may name another place. */
  #readFrom: SecretRef | undefined
  /** On the clock's monotonic scale. */
  #readAgainAt = Number.NEGATIVE_INFINITY
  #reading: { readonly from: SecretRef | undefined, readonly done: Promise<void> } | undefined
  /** What was last said of a token that cannot be read, so that an outage is told once. */
  #complaint: string | undefined
  #waiting = 0

  constructor (options: AccessOptions) {
    this.#options = options
  }

  /**
   * Judges an `Authorization` header (RFC 6750 §2.1) in the same time however wrong its token is: hashes are compared.
   * The answer to a wrong one is late. Nobody is ever locked out by that: the right token is granted at once, whatever
   * others have tried.
   */
  async judge (authorization: string | undefined): Promise<Verdict> {
    await this.#refresh()
    if (this.#readFrom === undefined) return 'off'
    if (this.#digest === undefined) return 'unavailable'
    const shown = authorization === undefined ? undefined : /^bearer +(\S+) *$/i.exec(authorization)?.[1]
    if (shown === undefined) return 'refused'
    if (timingSafeEqual(digestOf(shown), this.#digest)) return 'granted'
    await this.#penalty()
    return 'refused'
  }

  async #refresh (): Promise<void> {
    const { token, clock } = this.#options
    while (token() !== this.#readFrom || clock.elapsed() >= this.#readAgainAt) {
      // A place that hangs must not hold up what another config says.
      if (this.#reading === undefined || this.#reading.from !== token()) this.#reading = { from: token(), done: this.#read(token()) }
      const reading = this.#reading
      await reading.done
      if (this.#reading === reading) this.#reading = undefined
    }
  }

  async #read (from: SecretRef | undefined): Promise<void> {
    const { token, clock, emit } = this.#options
    let digest: Buffer | undefined
    let complaint: string | undefined
    try {
      digest = from === undefined ? undefined : digestOf((await readAdminToken(from)).reveal())
    } catch (error) {
      // A reference's errors name places, never values.
      complaint = error instanceof Error ? error.message : 'it cannot be read'
    }
    if (from !== token()) return
    this.#digest = digest
    if (complaint !== undefined && complaint !== this.#complaint) emit({ event: 'warning', reason: `the admin API answers 503 until its token can be read: ${complaint}` })
    this.#complaint = complaint
    this.#readFrom = from
    this.#readAgainAt = clock.elapsed() + REMEMBERED
  }

  async #penalty (): Promise<void> {
    if (this.#waiting >= MOST_WAITING) return
    this.#waiting++
    await pause(this.#options.clock, PENALTY)
    this.#waiting--
  }
}

function digestOf (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
