import { isDeepStrictEqual } from 'node:util'
import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { ToolRules } from '../config/config.js'
import { readAgentName } from '../config/names.js'
import { readToolPattern } from '../config/values.js'
import { ControlError, type Detail, type SessionInfo, type Sessions } from '../control.js'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'
import type { Secret } from '../secret.js'
import { told } from '../state/told.js'
import type { Vault } from '../state/vault.js'
import type { Emit } from '../telemetry/events.js'
import { KEY_IN_USE, REMEMBERED_MS, type Directory } from './directory.js'
import { mintSessionKey } from './session-key.js'

const PREFIX = 'session/'
/** Milliseconds: a thousand years, far from what a date cannot hold. */
const LONGEST_TTL = 1000 * 365 * 24 * 3_600_000
/** Keys that are looked up in the state at the same time; who sends made-up ones must not make the others wait. */
const MOST_LOOK_UPS = 256
const MOST_GLOBS = 1_000

/** A session as it is kept, without its key; or that a session of the config was revoked. */
type SessionRecord =
  | { readonly hash: string, readonly principal: string, readonly agent: string, readonly tools?: ToolRules, readonly expires_at?: number }
  | { readonly revoked_at: number }

/** A session as the config has it. */
export interface ConfiguredSession { readonly principal: string, readonly agent: string, readonly tools: ToolRules | undefined, readonly expiresAt: number | undefined }

/** What sessions need to know of principals. */
export interface Principalship {
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
  /** Ids of sessions of the config that somebody has revoked. */
  readonly #revoked = new Set<string>()
  #lookUps = 0

  constructor (options: SessionBookOptions) {
    this.#options = options
  }

  /** The key that session keys are hashed with; made by whoever shares the state first. @throws {StateError} */
  static async pepper (vault: Vault): Promise<KeyObject> {
    const { key } = await vault.lease('pepper', async (lease) => {
      const kept = await vault.read<{ key: string }>('pepper')
      if (kept !== undefined) return kept
      const made = { key: randomBytes(32).toString('base64') }
      await vault.write('pepper', made, { lease })
      return made
    })
    return createSecretKey(Buffer.from(key, 'base64'))
  }

  /** Opens what is kept. @throws {StateError} */
  async load (): Promise<void> {
    const { vault, emit } = this.#options
    for await (const [name, record] of vault.list<SessionRecord>(PREFIX, (_name, error) => emit({ event: 'warning', reason: error.message }))) this.#take(idIn(name), record)
  }

  /**
   * Opens a session of the config, unless somebody has revoked it.
   * @throws {RangeError} for a key that is none, or that another session has
   */
  configure (session: ConfiguredSession, key: Secret): void {
    const { directory, emit } = this.#options
    const { session: { id } } = directory.draft(session, key, 'config')
    if (!this.#revoked.has(id)) directory.create(session, key)
    else emit({ event: 'warning', reason: `the session key of agent ${JSON.stringify(session.agent)} was revoked and stays so: give the agent a new one, or take the session out of the config` })
  }

  /**
   * Goes on with the sessions of another config: what is the same in both stays, what is gone from it ends.
   * @param sessions with their keys
   * @returns does it; nothing can fail any more then
   * @throws {RangeError} as `configure`
   */
  reconfigure (sessions: ReadonlyArray<readonly [ConfiguredSession, Secret]>): () => void {
    const { directory } = this.#options
    const drafts = new Map(sessions.map(([session, key]) => {
      const draft = directory.draft(session, key, 'config')
      return [draft.session.id, draft] as const
    }))
    if (drafts.size < sessions.length || [...drafts.keys()].some((id) => directory.get(id)?.source === 'api')) throw new RangeError(KEY_IN_USE)
    return () => {
      for (const { id, source } of directory.list()) if (source === 'config' && !drafts.has(id)) directory.revoke(id)
      for (const { session, hash } of drafts.values()) {
        if (!this.#revoked.has(session.id) && !isDeepStrictEqual(directory.get(session.id), session)) directory.open(session, hash)
      }
    }
  }

  async create (asked: Parameters<Sessions['create']>[0]): Promise<SessionInfo & { readonly key: Secret }> {
    const { directory, vault, principals, clock, emit } = this.#options
    const details = findings(asked)
    if (details.length > 0) throw new ControlError('ERR_REQUEST_INVALID', details)
    const { principal, agent, tools, ttlMs } = asked
    if (!await told(principals.known(principal))) throw new ControlError('ERR_PRINCIPAL_UNKNOWN')
    const key = mintSessionKey()
    const expiresAt = ttlMs === undefined ? undefined : clock.now() + ttlMs
    const { session, hash } = directory.draft({ principal, agent, tools, expiresAt }, key, 'api')
    await told(vault.write(PREFIX + session.id, {
      hash: hash.toString('base64'), principal, agent, ...(tools === undefined ? {} : { tools }), ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    } satisfies SessionRecord, { expiresAt: expiresAt === undefined ? undefined : expiresAt + REMEMBERED_MS }))
    directory.open(session, hash)
    emit({ event: 'session_created', principal, agent, session: session.id })
    return { ...session, key }
  }

  async revoke (id: string): Promise<boolean> {
    const { directory, vault, clock, emit } = this.#options
    const session = directory.get(id)
    const name = PREFIX + id
    // Here at once, whatever the store says; what it says decides whether it would come back.
    directory.revoke(id)
    if (session !== undefined) emit({ event: 'session_revoked', principal: session.principal, agent: session.agent, session: id })
    if (session?.source === 'config') {
      this.#revoked.add(id)
      await told(vault.write(name, { revoked_at: clock.now() } satisfies SessionRecord), 'the session has ended here, but that could not be saved')
      return true
    }
    const kept = session !== undefined || (/^ses_[\w-]{16}$/.test(id) && await told(vault.read(name)) !== undefined && !this.#revoked.has(id))
    if (kept) await told(vault.delete(name), 'the session has ended here, but that could not be saved')
    return kept
  }

  /** Ends the sessions of a principal that is no more. Never throws. */
  async revokeAll (principal: string): Promise<void> {
    for (const { id } of this.list()) {
      if (this.#options.directory.get(id)?.principal !== principal) continue
      await this.revoke(id).catch((error: unknown) => this.#warn(error))
    }
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
      await this.notice(PREFIX + this.#options.directory.idFor(key))
      return this.#options.directory.find(key, connection)
    } catch {
      return 'ERR_STATE_UNAVAILABLE'
    } finally {
      this.#lookUps--
    }
  }

  /** Whether a record of the vault is one of these. */
  static holds (name: string): boolean {
    return name.startsWith(PREFIX)
  }

  /** Another process has written or deleted this record. @throws {StateError} */
  async notice (name: string): Promise<void> {
    const record = await this.#options.vault.read<SessionRecord>(name)
    if (record !== undefined && 'hash' in record) await this.#options.principals.known(record.principal)
    this.#take(idIn(name), record)
  }

  /** Anything may have changed. @throws {StateError} */
  async noticeAll (): Promise<void> {
    const { vault, directory } = this.#options
    const seen = new Set<string>()
    for await (const [name, record] of vault.list<SessionRecord>(PREFIX, (_name, error) => this.#warn(error))) {
      seen.add(idIn(name))
      this.#take(idIn(name), record)
    }
    // What is not listed may have been written while the list was made.
    for (const { id, source } of directory.list()) if (source === 'api' && !seen.has(id)) await this.notice(PREFIX + id)
  }

  /** A session that somebody has closed for being long over need not be kept any more. */
  forget (id: string): void {
    this.#options.vault.delete(PREFIX + id).catch((error: unknown) => this.#warn(error))
  }

  #take (id: string, record: SessionRecord | undefined): void {
    const { directory } = this.#options
    const open = directory.get(id)
    if (record === undefined) {
      if (open?.source === 'api') directory.revoke(id)
    } else if ('revoked_at' in record) {
      this.#revoked.add(id)
      directory.revoke(id)
    } else if (open === undefined) {
      const { hash, principal, agent, tools, expires_at: expiresAt } = record
      directory.open({ id, principal, agent, tools, expiresAt, source: 'api' }, Buffer.from(hash, 'base64'))
    }
  }

  #warn (error: unknown): void {
    const reason = error instanceof Error ? error.message : 'the state store failed'
    this.#options.emit({ event: 'warning', reason })
  }
}

function idIn (name: string): string {
  return name.slice(PREFIX.length)
}

function isPattern (text: string): boolean {
  try {
    readToolPattern(text)
    return true
  } catch {
    return false
  }
}

function findings ({ agent, ttlMs, tools }: Parameters<Sessions['create']>[0]): Detail[] {
  const details: Detail[] = []
  try {
    readAgentName(agent)
  } catch (error) {
    details.push({ path: 'agent', message: (error as Error).message })
  }
  // With NaN it would never be over, and no date could show it.
  if (ttlMs !== undefined && !(ttlMs > 0 && ttlMs <= LONGEST_TTL)) details.push({ path: 'ttl', message: 'is longer than 0 and at most a thousand years' })
  for (const list of ['allow', 'deny'] as const) {
    const globs = tools?.[list] ?? []
    if (globs.length > MOST_GLOBS || !globs.every(isPattern)) details.push({ path: `tools.${list}`, message: `is a list of at most ${MOST_GLOBS} names or globs, each of 1 to 256 characters` })
  }
  return details
}
