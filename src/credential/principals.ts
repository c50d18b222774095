import type { Clock } from '../clock.js'
import type { PrincipalConfig, ToolRules } from '../config/config.js'
import { exchangesCallersJwt } from '../config/exchange.js'
import type { CompleteCredential } from '../config/given-credential.js'
import { formatPath } from '../config/problem.js'
import { ControlError, type Credentials, type GivenCredential, type GivenPrincipal, type PrincipalInfo, type PrincipalRegister } from '../control.js'
import type { Vault } from '../state/vault.js'
import type { CredentialCensus, Emit } from '../telemetry/events.js'
import { censusOf } from './census.js'
import { checkGiven } from './completed.js'
import { credentialsOf, sourcesChanged } from './credentials.js'
import type { Grants } from './grants/index.js'
import { madeOf } from './made.js'
import { Pending } from './pending.js'
import { Provider, type ProviderOptions } from './provider.js'
import { recordName } from './record.js'
import { Register, type PrincipalRecord } from './register.js'
import { inTurns, warmed, warmUp } from './warm-up.js'
import { infoOf, rulesOf, type Entry, type Held } from './entry.js'

/** Milliseconds that `put` waits for the new credential to be ready. */
const PATIENCE_AFTER_PUT = 2_000

export interface PrincipalsOptions {
  readonly configured: Iterable<PrincipalConfig>
  readonly complete: CompleteCredential
  readonly vault: Vault
  readonly clock: Clock
  readonly emit: Emit
  readonly grants: Grants
}

/** Every principal and its credentials: those of the config, and those that are put at run time over them. */
export class Principals implements PrincipalRegister {
  readonly #options: PrincipalsOptions & Pick<ProviderOptions, 'unsaved' | 'ending'>
  readonly #register: Register
  readonly #entries = new Map<string, Entry>()
  /** Credentials by the name of their record. */
  readonly #kept = new Map<string, Provider>()
  readonly #closing = new Pending()
  readonly #closed = new AbortController()
  #complete: CompleteCredential
  /** What ends with principals that are no more. */
  #ending = Promise.resolve()
  /** Ends what depends on a principal that is no more: for good where it was ended, until it is back where the state has lost it. */
  onGone: (id: string, ended: boolean) => void | Promise<void> = () => {}

  constructor (options: PrincipalsOptions) {
    this.#options = { ...options, unsaved: new Map(), ending: this.#closed.signal }
    this.#complete = options.complete
    this.#register = new Register(options.vault, options.clock)
  }

  /**
   * Takes up the principals of the config, and what was put before.
   * @throws {StateError}
   * @throws {RangeError} where a credential is of a type that nobody has registered
   */
  async load (): Promise<void> {
    for (const config of this.#options.configured) this.#apply({ id: config.id, config, put: undefined, held: new Map() })
    for await (const put of this.#register.list((_name, error) => this.#warn(error.message))) {
      const entry = this.#entries.get(put.id) ?? { id: put.id, config: undefined, held: new Map<string, Held>() }
      this.#entries.set(put.id, Object.assign(entry, { put, waiting: true }))
    }
  }

  /**
   * Goes on with another config. A credential that is the same in both stays as it is, with its token; what is gone from
   * it, and was not put, ends.
   */
  reconfigure (configured: Iterable<PrincipalConfig>, complete: CompleteCredential): void {
    const next = new Map([...configured].map((config) => [config.id, config]))
    this.#complete = complete
    for (const id of new Set([...this.#entries.keys(), ...next.keys()])) {
      const entry = this.#entries.get(id) ?? { id, config: undefined, put: undefined, held: new Map<string, Held>() }
      entry.config = next.get(id)
      this.#entries.set(id, entry)
      if (entry.waiting !== true) this.#take(id, entry.put)
    }
  }

  /** As the function of this name. Never throws. */
  async sourcesChanged (sources: readonly string[]): Promise<void> {
    await sourcesChanged(this.#entries.values(), sources, this.#options.clock)
  }

  has (principal: string): boolean {
    return this.#entries.has(principal)
  }

  /** As `has`, once another process' word has been heard. @throws {StateError} */
  async known (principal: string): Promise<boolean> {
    if (!this.has(principal)) await this.notice(Register.nameOf(principal))
    return this.has(principal)
  }

  /** Undefined where the principal has no credential for this upstream. */
  find (principal: string, upstream: string): Provider | undefined {
    const entry = this.#entries.get(principal)
    if (entry?.waiting === true) this.#apply(entry)
    return entry?.held.get(upstream)?.provider
  }

  /** Its rules on tools: the config's, and those that were put with it. */
  toolsOf (principal: string): readonly ToolRules[] {
    return rulesOf(this.#entries.get(principal))
  }

  async put (id: string, given: GivenPrincipal): Promise<PrincipalInfo> {
    for (const [upstream, credential] of Object.entries(given.credentials)) checkGiven(this.#complete, upstream, credential, formatPath(['credentials', upstream]) + '.')
    return await this.#changed(await this.#register.put(id, given))
  }

  async putCredential (id: string, upstream: string, given: GivenCredential): Promise<PrincipalInfo> {
    checkGiven(this.#complete, upstream, given, '')
    return await this.#changed(await this.#register.putCredential(id, upstream, given))
  }

  async delete (id: string): Promise<boolean> {
    const deleted = await this.#register.delete(id)
    const entry = this.#entries.get(id)
    if (!deleted && entry?.config !== undefined && entry.put === undefined) throw new ControlError('ERR_CONFIGURED')
    this.#take(id, undefined)?.forEach((provider) => { void provider.warm() })
    await this.#ending
    if (deleted) this.#options.emit({ event: 'principal_deleted', principal: id })
    return deleted
  }

  list (): PrincipalInfo[] {
    return [...this.#ready()].map(infoOf)
  }

  /** Another process has written or deleted this record of a principal or a credential, or may have where it was not `heard`. @throws {StateError} */
  async notice (name: string, heard = true): Promise<void> {
    if (!Register.holds(name)) return await this.#kept.get(name)?.notice()
    const record = await this.#register.read(name)
    const id = record?.id ?? [...this.#entries.keys()].find((known) => Register.nameOf(known) === name)
    if (id !== undefined) this.#take(id, record, heard)?.forEach((provider) => { void provider.warm() })
  }

  /** Anything may have changed. @throws {StateError} */
  async noticeAll (): Promise<void> {
    const seen = new Set<string>()
    for await (const record of this.#register.list((_name, error) => this.#warn(error.message))) {
      seen.add(record.id)
      this.#take(record.id, record)
    }
    // What is not listed may have been written while the list was made.
    for (const { id, put } of [...this.#entries.values()]) if (put !== undefined && !seen.has(id)) await this.notice(Register.nameOf(id), false)
    for (const provider of this.#all()) await provider.notice()
    void this.warm()
  }

  get credentials (): Credentials {
    return credentialsOf({ all: () => this.#ready(), get: (id) => this.#entries.get(id), find: (id, upstream) => this.find(id, upstream), clock: this.#options.clock })
  }

  /** Gets all credentials ready. One that cannot be had holds no other up. */
  async warm (): Promise<void> {
    for await (const entry of inTurns([...this.#entries.values()].filter(({ waiting }) => waiting))) {
      if (this.#closed.signal.aborted) return
      if (entry.waiting === true && this.#entries.get(entry.id) === entry) this.#apply(entry)
    }
    await warmUp(this.#all(), this.#options.clock, this.#closed.signal)
  }

  census (upstreams: Iterable<string>, now: number): CredentialCensus[] {
    return censusOf(this.#all(), upstreams, now)
  }

  async close (): Promise<void> {
    this.#closed.abort()
    await Promise.all([...[...this.#all()].map(async (provider) => await provider.close()), this.#closing.settled()])
  }

  async #changed (record: PrincipalRecord): Promise<PrincipalInfo> {
    const fresh = this.#take(record.id, record) ?? []
    // While its token is waited for, it may be deleted.
    const info = infoOf(this.#entries.get(record.id) as Entry)
    this.#options.emit({ event: 'principal_put', principal: record.id })
    await warmed(fresh, this.#options.clock, PATIENCE_AFTER_PUT)
    return info
  }

  /**
   * @param heard whether somebody has said so, rather than that it was found so
   * @returns the credentials that have to be got ready; undefined where the principal is no more
   */
  #take (id: string, put: PrincipalRecord | undefined, heard = true): Provider[] | undefined {
    const entry = this.#entries.get(id) ?? { id, config: undefined, put, held: new Map<string, Held>() }
    entry.put = put
    if (entry.config !== undefined || put !== undefined) return this.#apply(entry)
    if (!this.#entries.delete(id)) return undefined
    for (const upstream of [...entry.held.keys()]) this.#drop(entry, upstream)
    this.#ending = Promise.all([this.#ending, this.onGone(id, heard)]).then(() => {})
    return undefined
  }

  #apply (entry: Entry): Provider[] {
    entry.waiting = false
    this.#entries.set(entry.id, entry)
    const upstreams = new Set([...entry.config?.credentials.keys() ?? [], ...Object.keys(entry.put?.credentials ?? {})])
    for (const upstream of [...entry.held.keys()]) if (!upstreams.has(upstream)) this.#drop(entry, upstream)
    return [...upstreams].flatMap((upstream) => this.#hold(entry, upstream) ?? [])
  }

  /** @returns the credential where it is a new one */
  #hold (entry: Entry, upstream: string): Provider | undefined {
    const before = entry.held.get(upstream)
    const made = madeOf(entry, upstream, this.#complete, (reason) => this.#warn(`the credential that was put for principal ${JSON.stringify(entry.id)} at upstream ${JSON.stringify(upstream)} no longer fits the config (${reason}): put it again, or delete the principal`))
    if (before !== undefined && before.made === made?.text) return undefined
    // There is one for each caller's JWT then (`Subjects`).
    if (made === undefined || exchangesCallersJwt(made.config)) return before === undefined ? undefined : this.#drop(entry, upstream)
    const { config } = made
    const keptAs = recordName(made.put ? 'put-credential' : 'credential', entry.id, upstream)
    const grant = this.#options.grants.of(config, { principal: entry.id, upstream })
    const ended = Promise.resolve(before?.provider.replace(grant, keptAs))
    if (!made.put && this.#kept.delete(recordName('put-credential', entry.id, upstream))) this.#closing.add(ended.then(async () => await this.#register.forget(entry.id, upstream, this.#warn)))
    const provider = before?.provider ?? new Provider({ principal: entry.id, upstream, grant, keptAs, ...this.#options })
    entry.held.set(upstream, { provider, made: made.text })
    this.#kept.set(keptAs, provider)
    return provider
  }

  #drop (entry: Entry, upstream: string): undefined {
    const { provider } = entry.held.get(upstream) as Held
    entry.held.delete(upstream)
    this.#kept.delete(recordName('credential', entry.id, upstream))
    const put = this.#kept.delete(recordName('put-credential', entry.id, upstream))
    this.#closing.add(provider.close().then(async () => { if (put) await this.#register.forget(entry.id, upstream, this.#warn) }))
  }

  readonly #warn = (reason: string): void => {
    this.#options.emit({ event: 'warning', reason })
  }

  * #ready (): Generator<Entry> {
    for (const entry of this.#entries.values()) {
      if (entry.waiting === true) this.#apply(entry)
      yield entry
    }
  }

  * #all (): Generator<Provider> {
    for (const { held } of this.#entries.values()) for (const { provider } of held.values()) yield provider
  }
}
