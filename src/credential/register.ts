import type { Clock } from '../clock.js'
import { ControlError, type Detail, type GivenCredential, type GivenPrincipal } from '../control.js'
import type { ToolRules } from '../config/config.js'
import { BrokenRecordError, StateError } from '../state/store.js'
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

/** What was put for this upstream, whose name may be that of something every object has. */
export function putFor (record: PrincipalRecord | undefined, upstream: string): PutCredential | undefined {
  return record !== undefined && Object.hasOwn(record.credentials, upstream) ? record.credentials[upstream] : undefined
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
    // What was there before is not read: it may be broken, and this is how that is put right.
    return await this.#change(id, async () => ({ id, ...(tools === undefined ? {} : { tools }), credentials: put }))
  }

  /** As `put`, beside what was put for other upstreams. */
  async putCredential (id: string, upstream: string, given: GivenCredential): Promise<PrincipalRecord> {
    const put = this.#taken(given, '')
    return await this.#change(id, async () => {
      const before = await this.read(Register.nameOf(id))
      return { id, ...before, credentials: { ...before?.credentials, [upstream]: put } }
    })
  }

  /**
   * Deletes what was put, and the tokens that had been got by it; a record that does not open, too.
   * @returns whether there was anything
   * @throws {ControlError} ERR_STATE_UNAVAILABLE
   */
  async delete (id: string): Promise<boolean> {
    const name = Register.nameOf(id)
    return await told(this.#vault.lease(name, async () => {
      const upstreams = await this.#vault.read<PrincipalRecord>(name).then((record) => record && Object.keys(record.credentials), (error: unknown) => {
        if (!(error instanceof BrokenRecordError)) throw error
        return 'unknown' as const
      })
      if (upstreams === undefined) return false
      const kept = upstreams === 'unknown' ? await this.#keptOf(id) : upstreams.map((upstream) => recordName('put-credential', id, upstream))
      await this.#vault.delete(name)
      for (const one of kept) await this.#vault.delete(one)
      return true
    }))
  }

  /**
   * Deletes the token of a credential that is put no more: a renewal that was under way then has written it again.
   * @param failed is told why it cannot; never throws
   */
  async forget (id: string, upstream: string, failed: (reason: string) => void): Promise<void> {
    const name = recordName('put-credential', id, upstream)
    await this.#vault.lease(name, async () => {
      // It may have been put again: that is written before its first renewal takes the lease.
      const record = await this.read(Register.nameOf(id))
      if (putFor(record, upstream) === undefined) await this.#vault.delete(name)
    }).catch((error: Error) => failed(error.message))
  }

  /** @throws {StateError} */
  async read (name: string): Promise<PrincipalRecord | undefined> {
    return await this.#vault.read<PrincipalRecord>(name).catch((error: unknown) => { throw advised(error) })
  }

  /** @param unusable is told of each record that does not open. @throws {StateError} */
  async * list (unusable: (name: string, error: StateError) => void): AsyncGenerator<PrincipalRecord> {
    for await (const [, record] of this.#vault.list<PrincipalRecord>(PREFIX, (name, error) => unusable(name, advised(error) as StateError))) yield record
  }

  /** The names of all tokens of a principal, whatever was put for it; but for a name so long that only its digest is kept. */
  async #keptOf (id: string): Promise<string[]> {
    const names: string[] = []
    for await (const [name] of this.#vault.list(recordName('put-credential', id, ''), (name) => names.push(name))) names.push(name)
    return names
  }

  async #change (id: string, next: () => Promise<PrincipalRecord>): Promise<PrincipalRecord> {
    const name = Register.nameOf(id)
    return await told(this.#vault.lease(name, async (lease) => {
      const record = await next()
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

/** One record that is broken, where others open, is put right by whoever put it. */
function advised (error: unknown): unknown {
  return error instanceof BrokenRecordError ? new BrokenRecordError(`${error.message}; where it is this record alone, delete this principal and put it again`) : error
}

function unusable (value: string | undefined, path: string, check: (text: unknown, from: string) => unknown): Detail[] {
  try {
    if (value !== undefined) check(value, 'this')
    return []
  } catch (error) {
    return [{ path, message: (error as GrantError).reason }]
  }
}
