import { randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { ToolRules } from '../config/config.js'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'
import { Secret } from '../secret.js'
import { hashSessionKey, isSessionKey, mintSessionKey } from './session-key.js'

/** One agent's permission to call, without the key that proves it. */
export interface Session {
  readonly id: string
  readonly principal: string
  readonly agent: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined
  /** Its own rules on tools, beside those of its principal. */
  readonly tools?: ToolRules | undefined
}

export interface NewSession {
  readonly principal: string
  readonly agent: string
  readonly expiresAt?: number | undefined
  readonly tools?: ToolRules | undefined
}

/** How long an expired session is remembered, so that its agent is told that it expired rather than that it never was. */
const REMEMBERED_MS = 24 * 60 * 60 * 1000
const FIRST_SWEEP = 1_024

interface Entry { readonly hash: Buffer, readonly session: Session, readonly caller: Caller }

/** Which session a key opens. Keeps keyed hashes, never keys, but for the last one that an open connection has shown. */
export class Directory {
  readonly #entries = new Map<string, Entry>()
  readonly #keysById = new Map<string, string>()
  readonly #shown = new WeakMap<object, { readonly key: string, readonly index: string, readonly entry: Entry }>()
  readonly #pepper: KeyObject
  readonly #clock: Clock
  /** Number of sessions at which those long expired are forgotten; then twice what is left, so that it costs little. */
  #sweepAt = FIRST_SWEEP

  constructor (pepper: KeyObject, clock: Clock) {
    this.#pepper = pepper
    this.#clock = clock
  }

  /**
   * Opens a session for a key that was made elsewhere, or for a new one.
   * @returns the session, and its key: the only time that it is to be had
   * @throws {RangeError} for a key that is not of the form `vk_` + 43 characters of base64url, or is already in use
   */
  create (asked: NewSession, key: Secret = mintSessionKey()): { session: Session, key: Secret } {
    if (!isSessionKey(key.reveal())) throw new RangeError('not a session key: make one with `mcp-valet keygen`')
    const hash = hashSessionKey(this.#pepper, key.reveal())
    const index = hash.toString('base64')
    if (this.#entries.has(index)) throw new RangeError('this session key is already in use: each agent needs its own')
    const id = 'ses_' + randomBytes(9).toString('base64url')
    const { principal, agent, expiresAt, tools } = asked
    const session = { id, principal, agent, expiresAt, ...(tools === undefined ? {} : { tools }) }
    const caller = { session: id, principal, agent, tools }
    if (this.#entries.size >= this.#sweepAt) this.#sweep()
    this.#entries.set(index, { hash, session, caller })
    this.#keysById.set(id, index)
    return { session, key }
  }

  /** @returns false where there is no such session */
  revoke (id: string): boolean {
    const index = this.#keysById.get(id)
    if (index === undefined) return false
    this.#keysById.delete(id)
    return this.#entries.delete(index)
  }

  #sweep (): void {
    const longAgo = this.#clock.now() - REMEMBERED_MS
    for (const { id, expiresAt } of this.list()) if (expiresAt !== undefined && expiresAt < longAgo) this.revoke(id)
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#entries.size)
  }

  list (): Session[] {
    return [...this.#entries.values()].map(({ session }) => session)
  }

  /**
   * Who holds this key. The work done does not depend on how wrong the key is.
   * @param connection that it came by: an agent shows the same key with each call, and hashing it each time would be a
   *   twentieth of what a call costs. That this connection has shown it before tells nobody anything new, so no time
   *   needs to be hidden then; whether the session is still open is looked up each time.
   */
  find (key: string, connection?: object): Caller | Extract<ErrorCode, 'ERR_SESSION_UNKNOWN' | 'ERR_SESSION_EXPIRED'> {
    const shown = connection === undefined ? undefined : this.#shown.get(connection)
    const entry = shown?.key === key && this.#entries.get(shown.index) === shown.entry ? shown.entry : this.#lookUp(key, connection)
    if (entry === undefined) return 'ERR_SESSION_UNKNOWN'
    if (entry.session.expiresAt !== undefined && entry.session.expiresAt <= this.#clock.now()) return 'ERR_SESSION_EXPIRED'
    return entry.caller
  }

  #lookUp (key: string, connection: object | undefined): Entry | undefined {
    const hash = hashSessionKey(this.#pepper, key)
    const index = hash.toString('base64')
    const entry = this.#entries.get(index)
    const same = timingSafeEqual(hash, entry?.hash ?? hash)
    if (entry === undefined || !same || !isSessionKey(key)) return undefined
    if (connection !== undefined) this.#shown.set(connection, { key, index, entry })
    return entry
  }
}
