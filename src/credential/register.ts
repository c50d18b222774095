import type { Clock } from '../clock.js'
import { ControlError, type Detail, type GivenCredential, type GivenPrincipal } from '../control.js'
import type { ToolRules } from '../config/config.js'
import type { StateError } from '../state/store.js'
import { told } from '../state/told.js'
import type { Vault } from '../state/vault.js'
import { accessToken, GrantError, refreshToken } from './grants/grant.js'
import { recordName } from './record.js'

/** A credential as it was put, with its lifetime as a date. */
export interface PutCredential extends Omit<GivenCredential, 'expires_in'> {
  /** When its access token expires, milliseconds since the epoch. */
  readonly expires_at?: number
}

/** What was put for one principal at run time; kept sealed. */
export interface PrincipalRecord {
  readonly id: string
  readonly tools?: ToolRules
  readonly credentials: Readonly<Record<string, PutCredential>>
}

const PREFIX = 'principal/'

/** The principals that are put at run time, in the vault that all sidecars of one state share. */
export class Register {
  readonly #vault: Vault
  readonly #clock: Clock

  constructor (vault: Vault, clock: Clock) {
    this.#vault = vault
    this.#clock = clock
  }

  /** Whether a record of the vault is one of these. */
  static holds (name: string): boolean {
    return name.startsWith(PREFIX)
  }

  static nameOf (id: string): string {
    return recordName('principal', id)
  }

  /** @throws {ControlError} ERR_REQUEST_INVALID for tokens that are none, ERR_STATE_UNAVAILABLE */
  async put (id: string, { tools, credentials }: GivenPrincipal): Promise<PrincipalRecord> {
    const put = Object.fromEntries(Object.entries(credentials).map(([upstream, given]) => [upstream, this.#taken(given, `credentials.${upstream}.`)]))
    return await this.#change(id, () => ({ id, ...(tools === undefined ? {} : { tools }), credentials: put }))
  }

  /** As `put`, beside what was put for other upstreams. */
  async putCredential (id: string, upstream: string, given: GivenCredential): Promise<PrincipalRecord> {
    const put = this.#taken(given, '')
    return await this.#change(id, (before) => ({ id, ...before, credentials: { ...before?.credentials, [upstream]: put } }))
  }

  /** @returns what there was, with the tokens that had been got by it deleted too */
  async delete (id: string): Promise<PrincipalRecord | undefined> {
    const name = Register.nameOf(id)
    return await told(this.#vault.lease(name, async () => {
      const record = await this.#vault.read<PrincipalRecord>(name)
      if (record === undefined) return undefined
      await this.#vault.delete(name)
      for (const upstream of Object.keys(record.credentials)) await this.#vault.delete(recordName('put-credential', id, upstream))
      return record
    }))
  }

  /** @throws {StateError} */
  async read (name: string): Promise<PrincipalRecord | undefined> {
    return await this.#vault.read<PrincipalRecord>(name)
  }

  /** @param unusable is told of each record that does not open. @throws {StateError} */
  async * list (unusable: (name: string, error: StateError) => void): AsyncGenerator<PrincipalRecord> {
    for await (const [, record] of this.#vault.list<PrincipalRecord>(PREFIX, unusable)) yield record
  }

  async #change (id: string, next: (before: PrincipalRecord | undefined) => PrincipalRecord): Promise<PrincipalRecord> {
    const name = Register.nameOf(id)
    return await told(this.#vault.lease(name, async (lease) => {
      const record = next(await this.#vault.read<PrincipalRecord>(name))
      await this.#vault.write(name, record, { lease })
      return record
    }))
  }

  #taken (given: GivenCredential, path: string): PutCredential {
    const details = [
      ...unusable(given.token, 'token', accessToken), ...unusable(given.access_token, 'access_token', accessToken), ...unusable(given.refresh_token, 'refresh_token', refreshToken),
    ]
    if (details.length > 0) throw new ControlError('ERR_REQUEST_INVALID', details.map((detail) => ({ ...detail, path: path + detail.path })))
    const { expires_in: seconds, ...rest } = given
    return seconds === undefined ? rest : { ...rest, expires_at: this.#clock.now() + seconds * 1000 }
  }
}

function unusable (value: string | undefined, path: string, check: (text: unknown, from: string) => unknown): Detail[] {
  try {
    if (value !== undefined) check(value, 'this')
    return []
  } catch (error) {
    return [{ path, message: (error as GrantError).reason }]
  }
}
