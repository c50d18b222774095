import { isDeepStrictEqual } from 'node:util'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import type { SessionConfig } from '../config/config.js'
import { ControlError, type SessionInfo, type Sessions } from '../control.js'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'
import type { Secret } from '../secret.js'
import { told } from '../state/told.js'
import type { Vault } from '../state/vault.js'
import type { Emit } from '../telemetry/events.js'
import { findings } from './asked-session.js'
import { draftSessions, type Drafts } from './configured.js'
import { REMEMBERED_MS, type Directory } from './directory.js'
import { mintSessionKey } from './session-key.js'
import { SessionRecords, type SessionRecord } from './session-records.js'

/** Keys that are looked up in the state at the same time; who sends made-up ones must not make the others wait. */
const MOST_LOOK_UPS = 256
/** Sessions that have ended and are remembered, for as long as what was read of them before may still be under way. */
const MOST_ENDED = 10_000

/** What sessions need to know of principals. */
export interface Principalship {
  has (principal: string): boolean
  known (principal: string): Promise<boolean>
}

export interface SessionBookOptions {
  readonly directory: Directory
  readonly vault: Vault
  readonly principals: Principalship
  readonly clock: Clock
  readonly emit: Emit
}

/**
 * The sessions that are kept in the state, beside those of the config: made and revoked at run time, there after a
 * restart, and the same in every sidecar that shares the state.
 */
export class SessionBook implements Sessions {
  readonly #options: SessionBookOptions
  readonly #records: SessionRecords
  /** Ids of sessions of the config that somebody has revoked. */
  readonly #revoked = new Set<string>()
  /** Under which ids those of the config are, each by the key that it has. */
  #opened: ReadonlyMap<SessionConfig, string> = new Map()
  /** Ids of those made at run time that are no more. None comes back: what was read of one before its end is out of date. */
  readonly #ended = new LRUCache<string, true>({ max: MOST_ENDED })
  /**
   * By id the look at which a session was not in the state any more: what an earlier one has read of it is out of date. Nobody
   * has ended it, as far as is known, and a state that was lost may be restored.
   */
  readonly #missing = new LRUCache<string, number>({ max: MOST_ENDED })
  /** Looks at the state so far. */
  #looks = 0
  #lookUps = 0
  /** Told of the name of each record whose end could not be saved, and why: `notice` tries that again. */
  onUnsaved: (name: string, error: unknown) => void = () => {}

  constructor (options: SessionBookOptions) {
    this.#options = options
    this.#records = new SessionRecords(options.vault, (name, error) => this.onUnsaved(name, error))
  }

  /** Opens what is kept. @throws {StateError} */
  async load (): Promise<void> {
    const look = ++this.#looks
    for await (const [id, record] of this.#records.list((error) => this.#warn(error))) this.#take(id, record, look)
  }

  /**
   * The sessions of a config with their keys, as they may be opened.
   * @param before whether a session whose key is no good now keeps the one that it had under the same config
   */
  async draft (configured: readonly SessionConfig[], before: boolean): Promise<Drafts> {
    return await draftSessions(configured, this.#options.directory, before ? (session) => this.#opened.get(session) : undefined)
  }

  /** Goes on with the sessions of a config: what is the same stays, what is gone from it ends, and what somebody has revoked stays so. */
  configure ({ sessions }: Drafts, configured: readonly SessionConfig[]): void {
    const { directory } = this.#options
    const opened = new Map(configured.flatMap((session) => {
      const id = sessions.get(session)?.session.id ?? this.#opened.get(session)
      return id === undefined ? [] : [[session, id] as const]
    }))
    const ids = new Set(opened.values())
    for (const { id, source } of directory.list()) if (source === 'config' && !ids.has(id)) directory.revoke(id)
    for (const { session, hash } of sessions.values()) {
      if (!this.#revoked.has(session.id) && !isDeepStrictEqual(directory.get(session.id), session)) directory.open(session, hash)
    }
    this.#opened = opened
  }

  /** Agents of sessions of the config that somebody has revoked. */
  get revokedAgents (): string[] {
    return [...this.#opened].flatMap(([{ agent }, id]) => this.#revoked.has(id) ? [agent] : [])
  }

  async create (asked: Parameters<Sessions['create']>[0]): Promise<SessionInfo & { readonly key: Secret }> {
    const { directory, principals, clock, emit } = this.#options
    const details = findings(asked)
    if (details.length > 0) throw new ControlError('ERR_REQUEST_INVALID', details)
    const { principal, agent, tools, ttlMs } = asked
    if (!await told(principals.known(principal))) throw new ControlError('ERR_PRINCIPAL_UNKNOWN')
    const key = mintSessionKey()
    const expiresAt = ttlMs === undefined ? undefined : clock.now() + ttlMs
    const { session, hash } = directory.draft({ principal, agent, tools, expiresAt }, key, 'api')
    await this.#records.save(session.id, {
      hash: hash.toString('base64'), principal, agent, ...(tools === undefined ? {} : { tools }), ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    }, expiresAt === undefined ? undefined : expiresAt + REMEMBERED_MS)
    directory.open(session, hash)
    emit({ event: 'session_created', principal, agent, session: session.id })
    // Deleted while that was saved, the principal has taken along the sessions that there were.
    if (!principals.has(principal)) {
      await this.revoke(session.id)
      throw new ControlError('ERR_PRINCIPAL_UNKNOWN')
    }
    return { ...session, key }
  }

  async revoke (id: string): Promise<boolean> {
    const { directory, clock, emit } = this.#options
    const session = directory.get(id)
    // Here at once and for good, whatever the store says; what it says decides whether it comes back after a restart.
    if (session?.source === 'config') this.#revoked.add(id)
    else this.#ended.set(id, true)
    directory.revoke(id)
    if (session !== undefined) emit({ event: 'session_revoked', principal: session.principal, agent: session.agent, session: id })
    const kept = session !== undefined || this.#records.isUnsaved(id) || (/^ses_[\w-]{16}$/.test(id) && 'hash' in (await told(this.#records.read(id)) ?? {}))
    if (kept) await this.#records.end(id, session?.source === 'config' ? { revoked_at: clock.now() } : undefined)
    return kept
  }

  /** Ends the sessions of a principal that is no more. Never throws. */
  async revokeAll (principal: string): Promise<void> {
    for (const { id } of this.list()) {
      if (this.#options.directory.get(id)?.principal !== principal) continue
      await this.revoke(id).catch((error: unknown) => this.#warn(error))
    }
  }

  /** Ends them for as long as the state does not have them: it has lost their principal, and who did that may not have meant it. */
  missAll (principal: string): void {
    for (const { id, principal: whose } of this.list()) if (whose === principal) this.#miss(id)
  }

  list (): SessionInfo[] {
    return this.#options.directory.list()
  }

  /**
   * Who holds a key that the directory does not know: another sidecar may have made its session a moment ago. Never rejects.
   * @returns ERR_STATE_UNAVAILABLE where that cannot be told
   */
  async seek (key: string, connection?: object): Promise<Caller | Extract<ErrorCode, 'ERR_SESSION_UNKNOWN' | 'ERR_SESSION_EXPIRED' | 'ERR_STATE_UNAVAILABLE'>> {
    if (this.#lookUps >= MOST_LOOK_UPS) return 'ERR_STATE_UNAVAILABLE'
    this.#lookUps++
    try {
      await this.#look(this.#options.directory.idFor(key), false)
      return this.#options.directory.find(key, connection)
    } catch {
      return 'ERR_STATE_UNAVAILABLE'
    } finally {
      this.#lookUps--
    }
  }

  /** Whether a record of the vault is one of these. */
  static holds (name: string): boolean {
    return SessionRecords.holds(name)
  }

  /** Another process has written or deleted this record. @throws {StateError} */
  async notice (name: string): Promise<void> {
    await this.#look(SessionRecords.idIn(name), true)
  }

  /** Anything may have changed. @throws {StateError} */
  async noticeAll (): Promise<void> {
    const seen = new Set<string>()
    const look = ++this.#looks
    for await (const [id, record] of this.#records.list((error) => this.#warn(error))) {
      seen.add(id)
      this.#take(id, record, look)
    }
    // What is not listed may have been written while the list was made.
    for (const { id, source } of this.list()) if (source === 'api' && !seen.has(id)) await this.#look(id, false)
    // Where the state has lost that somebody revoked them, they would be back after a restart.
    for (const id of this.#revoked) if (!seen.has(id)) this.#records.leave(id, { revoked_at: this.#options.clock.now() })
    await this.#records.saveAll()
  }

  /** A session that somebody has closed for being long over need not be kept any more. */
  forget (id: string): void {
    this.#records.delete(id).catch((error: unknown) => this.#warn(error))
  }

  /** @param heard of it from who wrote it, rather than from whoever shows a key or looks for what there is */
  async #look (id: string, heard: boolean): Promise<void> {
    if (heard && this.#records.isUnsaved(id)) return await this.#records.saveAgain(id)
    const look = ++this.#looks
    const record = await this.#records.read(id)
    if (record === undefined && heard) this.#ended.set(id, true)
    if (record !== undefined && 'hash' in record) await this.#options.principals.known(record.principal)
    this.#take(id, record, look)
  }

  #take (id: string, record: SessionRecord | undefined, look: number): void {
    const { directory } = this.#options
    const open = directory.get(id)
    if (record === undefined) {
      if (open?.source === 'api') this.#miss(id)
    } else if ('revoked_at' in record) {
      this.#revoked.add(id)
      directory.revoke(id)
    } else if (this.#records.isUnsaved(id)) {
      this.#records.saveAgain(id).catch(() => {})
    } else if (open === undefined && !this.#ended.has(id) && look > (this.#missing.get(id) ?? 0)) {
      const { hash, principal, agent, tools, expires_at: expiresAt } = record
      directory.open({ id, principal, agent, tools, expiresAt, source: 'api' }, Buffer.from(hash, 'base64'))
    }
  }

  #miss (id: string): void {
    this.#missing.set(id, this.#looks)
    this.#options.directory.revoke(id)
  }

  #warn (error: unknown): void {
    const reason = error instanceof Error ? error.message : 'the state store failed'
    this.#options.emit({ event: 'warning', reason })
  }
}
