import { timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { ToolRules } from '../config/config.js'
import type { SessionInfo } from '../control.js'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'
import type { Secret } from '../secret.js'
import { hashSessionKey, isSessionKey } from './session-key.js'

export interface NewSession {
  readonly principal: string
  readonly agent: string
  readonly tools?: ToolRules | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
}

/** How long an expired session is remembered, so that its agent is told that it expired rather than that it never was. */
export const REMEMBERED_MS = 24 * 60 * 60 * 1000
const FIRST_SWEEP = 1_024

interface Entry { readonly hash: Buffer, readonly session: SessionInfo, readonly caller: Caller }

type Refusal = Extract<ErrorCode, 'ERR_SESSION_UNKNOWN' | 'ERR_SESSION_EXPIRED'>

/** Which session a key opens. Keeps keyed hashes, never keys, but for the last one that an open connection has shown. */
export class Directory {
  readonly #entries = new Map<string, Entry>()
  readonly #shown = new WeakMap<object, { readonly key: string, readonly entry: Entry }>()
  readonly #pepper: KeyObject
  readonly #clock: Clock
  /** Number of sessions at which those long expired are forgotten; then twice what is left, so that it costs little. */
  #sweepAt = FIRST_SWEEP
  /** Told of each session that is closed, and whether that was because it had expired long ago. */
  onClosed: (session: SessionInfo, expired: boolean) => void = () => {}

  constructor (pepper: KeyObject, clock: Clock) {
    this.#pepper = pepper
    this.#clock = clock
  }

  get size (): number {
    return this.#entries.size
  }

  /**
   * A session for a key, not open yet, with the hash that is kept of that.
   * @throws {RangeError} for a key that is not of the form `vk_` + 43 characters of base64url
   */
  draft (asked: NewSession, key: Secret, source: SessionInfo['source']): { session: SessionInfo, hash: Buffer } {
    if (!isSessionKey(key.reveal())) throw new RangeError('not a session key: make one with `mcp-valet keygen`')
    const hash = hashSessionKey(this.#pepper, key.reveal())
    const { principal, agent, tools, expiresAt } = asked
    return { session: { id: idOf(hash), principal, agent, tools, expiresAt, source }, hash }
  }

  /** Opens a session whose key is known by its hash alone; one that is open under the same id gives way. */
  open (session: SessionInfo, hash: Buffer): Caller {
    if (this.#entries.size >= this.#sweepAt) this.#sweep()
    const { id, principal, agent, tools, expiresAt } = session
    const caller: Caller = { session: id, principal, agent, tools, ...(expiresAt === undefined ? {} : { expiresAt }) }
    this.#entries.set(id, { hash, session, caller })
    return caller
  }

  get (id: string): SessionInfo | undefined {
    return this.#entries.get(id)?.session
  }

  /** Who holds a caller's session by now; undefined where it has been closed. */
  current ({ session }: Caller): Caller | undefined {
    return this.#entries.get(session)?.caller
  }

  /** @returns false where there is no such session */
  revoke (id: string): boolean {
    return this.#close(id, false)
  }

  list (): SessionInfo[] {
    return [...this.#entries.values()].map(({ session }) => session)
  }

  /**
   * Who holds this key. The work done does not depend on how wrong the key is.
   * @param connection that it came by: an agent shows the same key with each call, and hashing it each time would be a
   *   twentieth of what a call costs. That this connection has shown it before tells nobody anything new, so no time
   *   needs to be hidden then; whether the session is still open is looked up each time.
   */
  find (key: string, connection?: object): Caller | Refusal {
    const shown = connection === undefined ? undefined : this.#shown.get(connection)
    const entry = shown?.key === key && this.#entries.get(shown.entry.session.id) === shown.entry ? shown.entry : this.#lookUp(key, connection)
    if (entry === undefined) return 'ERR_SESSION_UNKNOWN'
    if (entry.session.expiresAt !== undefined && entry.session.expiresAt <= this.#clock.now()) return 'ERR_SESSION_EXPIRED'
    return entry.caller
  }

  /** Whose a key is that was refused for its session's having expired; by itself, so that no other call pays for it. */
  lapsed (key: string): Caller | undefined {
    return this.#lookUp(key, undefined)?.caller
  }

  /** Under which id this key would be kept, were it one. */
  idFor (key: string): string {
    return idOf(hashSessionKey(this.#pepper, key))
  }

  #lookUp (key: string, connection: object | undefined): Entry | undefined {
    const hash = hashSessionKey(this.#pepper, key)
    const entry = this.#entries.get(idOf(hash))
    const same = timingSafeEqual(hash, entry?.hash ?? hash)
    if (entry === undefined || !same || !isSessionKey(key)) return undefined
    if (connection !== undefined) this.#shown.set(connection, { key, entry })
    return entry
  }

  #sweep (): void {
    const longAgo = this.#clock.now() - REMEMBERED_MS
    for (const { id, expiresAt } of this.list()) if (expiresAt !== undefined && expiresAt < longAgo) this.#close(id, true)
    this.#sweepAt = Math.max(FIRST_SWEEP, 2 * this.#entries.size)
  }

  #close (id: string, expired: boolean): boolean {
    const entry = this.#entries.get(id)
    if (entry === undefined) return false
    this.#entries.delete(id)
    this.onClosed(entry.session, expired)
    return true
  }
}

/** Part of the keyed hash, so that every sidecar which knows the pepper finds the session under the same id. */
function idOf (hash: Buffer): string {
  return 'ses_' + hash.toString('base64url', 0, 12)
}
