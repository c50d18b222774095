import type { Clock } from '../clock.js'
import type { Vault } from '../state/vault.js'
import type { Credential, RefreshTrigger } from './credential.js'
import { GrantError, type Grant, type Held, type Issued } from './grants/grant.js'
import { phaseOf } from './lifetime.js'
import { amended, credentialOf, firstRecord, heldOf, nextRecord, NO_SEED, prolonged, recordName, seedDigest, underTerms, type CredentialRecord } from './record.js'

/** Milliseconds until what could not be saved is tried again: doubled each time, up to the longest. */
const FIRST_SAVE_WAIT = 1_000
const LONGEST_SAVE_WAIT = 60_000

/** `found`: it was there at the start; `adopted`: somebody else had renewed it; `issued`: the issuer gave it just now. */
export interface Renewed { readonly credential: Credential, readonly how: 'found' | 'adopted' | 'issued' }

export interface RenewalOptions {
  readonly principal: string
  readonly upstream: string
  readonly grant: Grant
  readonly vault: Vault
  readonly clock: Clock
  /** Told when a new pair could not be saved; it is kept in memory and saved with the next occasion. */
  readonly onUnsaved: (error: unknown) => void
}

/**
 * What is held of one principal at one upstream, and the one way of replacing it:
 * lock → read the store and the config again → adopt what is newer → exchange → write → hold → unlock.
 */
export class Renewal {
  readonly #name: string
  readonly #options: RenewalOptions
  #record: CredentialRecord | undefined
  #credential: Credential | undefined
  /** How often saving what is held has failed; undefined where it is saved. */
  #unsaved: number | undefined

  constructor (options: RenewalOptions) {
    this.#options = options
    this.#name = recordName(options.principal, options.upstream)
  }

  get credential (): Credential | undefined {
    return this.#credential
  }

  get revoked (): boolean {
    return this.#record?.revoked === true
  }

  /** Milliseconds after which `save` should be called again; undefined where there is nothing to save. */
  get saveAgainIn (): number | undefined {
    return this.#unsaved === undefined ? undefined : Math.min(LONGEST_SAVE_WAIT, FIRST_SAVE_WAIT * 2 ** (this.#unsaved - 1))
  }

  /** @throws {GrantError | StateError} and then what was held before is held still */
  async run (trigger: RefreshTrigger): Promise<Renewed> {
    if (!this.#options.grant.kept) return await this.#renew(trigger)
    return await this.#options.vault.lease(this.#name, async () => await this.#renew(trigger))
  }

  /** Saves what a full or broken store refused before, unless somebody else has saved something newer. Never throws. */
  async save (): Promise<void> {
    if (this.#unsaved === undefined) return
    const { vault } = this.#options
    await vault.lease(this.#name, async () => {
      const record = this.#record as CredentialRecord
      const stored = await vault.read<CredentialRecord>(this.#name)
      if (stored !== undefined && stored.revision >= record.revision) this.#unsaved = undefined
      else await this.#write(record)
    }).catch((error: unknown) => this.#notSaved(error))
  }

  async #renew (trigger: RefreshTrigger): Promise<Renewed> {
    const before = { record: this.#record, credential: this.#credential }
    const held = await this.#catchUp()
    const there = this.#alive()
    if (there !== undefined && there !== before.credential) return { credential: there, how: before.record === undefined ? 'found' : 'adopted' }
    if (this.revoked) throw new GrantError('revoked', 'the issuer said earlier that this grant is over', { remembered: true })
    return await this.#exchange(held, trigger)
  }

  /** Takes up what the store or the config has that is newer than what is held. */
  async #catchUp (): Promise<Held> {
    const { grant, vault, clock } = this.#options
    const seed = await grant.seed().catch((error: unknown) => error instanceof GrantError ? error : Promise.reject(error))
    const stored = grant.kept ? await vault.read<CredentialRecord>(this.#name) : undefined
    const digest = seed instanceof GrantError ? undefined : seedDigest(seed)
    const current = digest === undefined || stored?.seed === digest ? stored : undefined
    if (current !== undefined && current.revision > (this.#record?.revision ?? 0)) {
      this.#hold(underTerms(current, grant.terms))
    } else if (digest !== undefined && digest !== this.#record?.seed) {
      const past = [stored, this.#record].filter((record) => record !== undefined)
      this.#hold(firstRecord(seed as Held, digest, grant.terms, past, clock.now()))
    }
    // Without the seed there may be a stored pair to go on with; without either, the seed's error is what to tell.
    if (this.#record === undefined) throw seed
    return heldOf(this.#record)
  }

  async #exchange (held: Held, trigger: RefreshTrigger): Promise<Renewed> {
    let issued: Issued
    try {
      issued = await this.#options.grant.exchange(held)
    } catch (error) {
      if (!(error instanceof GrantError)) throw error
      if (error.rotated !== undefined) await this.#replace(amended(this.#record as CredentialRecord, { refresh_token: error.rotated.reveal() }))
      if (error.kind === 'revoked') return await this.#revoke(error, trigger)
      throw error
    }
    await this.#takeIn(issued, trigger)
    const credential = this.#alive()
    if (credential === undefined) {
      throw new GrantError('unavailable', 'the token that was given has expired already: check this machine\'s clock, and the issuer\'s')
    }
    return { credential, how: 'issued' }
  }

  /** @throws {GrantError} `unchanged`, once what did change has been kept */
  async #takeIn (issued: Issued, trigger: RefreshTrigger): Promise<void> {
    const record = this.#record as CredentialRecord
    if (issued.accessToken.reveal() !== record.access_token) return await this.#replace(nextRecord(record, issued))
    const rotated = issued.refreshToken?.reveal() ?? record.refresh_token
    const refresh = rotated === undefined ? {} : { refresh_token: rotated }
    // What an upstream has refused is not made good by a longer life.
    if (trigger !== 'rejected' && prolonged(record, issued)) {
      return await this.#replace(amended(record, { ...refresh, obtained_at: issued.obtainedAt, expires_at: issued.expiresAt as number }))
    }
    if (rotated !== record.refresh_token) await this.#replace(amended(record, refresh))
    if (this.#alive() !== undefined) throw new GrantError('unchanged', 'the source still gives the same token')
  }

  async #revoke (error: GrantError, trigger: RefreshTrigger): Promise<Renewed> {
    const before = this.#record as CredentialRecord
    // Nothing that a person could replace was refused, so nothing but time can mend it.
    if (before.seed === NO_SEED) throw new GrantError('unavailable', error.reason)
    // Another process may have spent the refresh token a moment ago, or a person put a new one in place: nothing is over then.
    const held = await this.#catchUp()
    if (this.#record?.revision === before.revision) {
      await this.#replace(amended(before, { revoked: true }))
      throw error
    }
    const there = this.#alive()
    if (there !== undefined && there.generation !== before.generation) return { credential: there, how: 'adopted' }
    if (this.revoked) throw error
    return await this.#exchange(held, trigger)
  }

  #alive (): Credential | undefined {
    const credential = this.#credential
    return credential !== undefined && phaseOf(credential, this.#options.clock.now()) !== 'dead' ? credential : undefined
  }

  async #replace (record: CredentialRecord): Promise<void> {
    this.#hold(record)
    if (this.#options.grant.kept) await this.#write(record).catch((error: unknown) => this.#notSaved(error))
  }

  async #write (record: CredentialRecord): Promise<void> {
    await this.#options.vault.write(this.#name, record)
    this.#unsaved = undefined
  }

  #notSaved (error: unknown): void {
    this.#unsaved = (this.#unsaved ?? 0) + 1
    this.#options.onUnsaved(error)
  }

  #hold (record: CredentialRecord): void {
    const same = this.#credential?.generation === record.generation && this.#credential.expiresAt === record.expires_at
    this.#record = record
    if (!same) this.#credential = credentialOf(record)
  }
}
