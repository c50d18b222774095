import type { Clock } from '../clock.js'
import { LeaseLostError, StateError, type Lease } from '../state/store.js'
import { cutOff, type Attempt, type Before } from './attempt.js'
import type { Credential, RefreshTrigger } from './credential.js'
import { GrantError, type Grant, type Held, type Issued } from './grants/grant.js'
import { isBetter, over, type Kept } from './kept.js'
import { phaseOf } from './lifetime.js'
import { amended, credentialOf, firstRecord, heldOf, nextRecord, NO_SEED, prolonged, seedDigest, seedDigests, settled, underTerms, type CredentialRecord } from './record.js'

/**
 * `found`: it was there at the start; `adopted`: somebody else had renewed it; `issued`: the issuer gave it just now;
 * `recovered`: so it did, after whoever asked before had been cut off.
 */
export interface Renewed { readonly credential: Credential, readonly how: 'found' | 'adopted' | 'issued' | 'recovered' }

export interface RenewalOptions {
  readonly grant: Grant
  readonly kept: Kept
  readonly clock: Clock
  /** What this credential's generations come on top of. */
  readonly base?: number
}

/** Room for what the renewal before this one may still bring about while it ends. */
const GENERATIONS_APART = 1_000

/**
 * What is held of one principal at one upstream, and the one way of replacing it:
 * lease → read the store and the config again → adopt what is newer → note that the refresh token is being spent →
 * exchange → write → hold → give the lease back.
 */
export class Renewal {
  readonly grant: Grant
  readonly kept: Kept
  readonly #clock: Clock
  #base: number
  #record: CredentialRecord | undefined
  #credential: Credential | undefined

  constructor (options: RenewalOptions) {
    this.grant = options.grant
    this.kept = options.kept
    this.#clock = options.clock
    this.#base = options.base ?? 0
  }

  get credential (): Credential | undefined {
    return this.#credential
  }

  /** The credential, where it may still be sent. */
  get alive (): Credential | undefined {
    const credential = this.#credential
    return credential !== undefined && phaseOf(credential, this.#clock.now()) !== 'dead' ? credential : undefined
  }

  get revoked (): boolean {
    return this.#record?.revoked === true
  }

  /** Whoever was spending the refresh token, as far as is known here, has not come back with an answer. */
  get interrupted (): boolean {
    return this.#record?.spending_since !== undefined
  }

  /** Where the generations of a renewal that takes this one's place begin. */
  get nextBase (): number {
    return this.#base + (this.#record?.generation ?? 0) + GENERATIONS_APART
  }

  /**
   * Takes up what was kept from before, without asking anybody for anything.
   * @returns whether there is nothing left to do: a credential that is good, and nobody who was cut off
   * @throws {GrantError | StateError}
   */
  async takeUp (): Promise<boolean> {
    await this.#catchUp()
    return this.alive !== undefined && !this.interrupted
  }

  /** Looks what another process has saved. @returns whether it is something new. @throws {GrantError | StateError} */
  async look (): Promise<boolean> {
    if (!this.grant.kept) return false
    // A new seed is for the next renewal to judge, which reads the config's own again.
    const stored = await this.kept.read(this.#digests ?? seedDigests(await this.grant.seed()))
    if (stored === undefined || stored.revision <= (this.#record?.revision ?? 0)) return false
    this.#hold(underTerms(stored, this.grant.terms))
    return true
  }

  /** @throws {GrantError | StateError} and then what was held before is held still */
  async run (trigger: RefreshTrigger): Promise<Renewed> {
    // As it is before there is a lease: what another process' word brings about while that is waited for is new, too.
    const before: Before = { record: this.#record, credential: this.#credential }
    const attempt = { spent: undefined, won: undefined }
    if (!this.grant.kept) return await this.#renew(before, trigger, undefined, attempt)
    try {
      return await this.kept.lease(async (lease) => await this.#renew(before, trigger, lease, attempt))
    } catch (error) {
      if (error instanceof LeaseLostError) return await this.kept.lease(async (lease) => await this.#settle(attempt, lease))
      if (error instanceof StateError && this.#spendsNothing) return await this.#renew(before, trigger, undefined, attempt)
      throw error
    }
  }

  async #renew (before: Before, trigger: RefreshTrigger, lease: Lease | undefined, attempt: Attempt): Promise<Renewed> {
    const held = await this.#catchUp()
    const there = this.alive
    const found = before.record === undefined
    // Who asks for it by hand wants another one than was there before.
    if (there !== undefined && there !== before.credential && !this.interrupted && !(found && trigger === 'manual')) return { credential: there, how: found ? 'found' : 'adopted' }
    if (this.revoked) throw new GrantError('revoked', 'the issuer said earlier that this grant is over', { remembered: true })
    return await this.#exchange(held, trigger, lease, attempt)
  }

  /** Takes up what the store or the config has that is newer than what is held. */
  async #catchUp (): Promise<Held> {
    const seed = await this.grant.seed().catch((error: unknown) => error instanceof GrantError ? error : Promise.reject(error))
    const digests = seed instanceof GrantError ? this.#digests : seedDigests(seed)
    const known = this.#record?.seed === digests?.[0] ? this.#record : undefined
    const stored = this.grant.kept ? await this.kept.read(digests).catch((error: unknown) => this.#spendsNothing ? undefined : Promise.reject(error)) : undefined
    if (stored !== undefined && stored.revision > (known?.revision ?? 0)) {
      this.#hold(underTerms(stored, this.grant.terms))
    } else if (known === undefined && !(seed instanceof GrantError)) {
      this.#hold(firstRecord(seed, seedDigest(seed), this.grant.terms, this.#clock.now()))
    }
    // Without the seed there may be a stored pair to go on with; without either, the seed's error is what to tell.
    if (this.#record === undefined) throw seed
    return heldOf(this.#record)
  }

  get #digests (): readonly [string] | undefined {
    return this.#record === undefined ? undefined : [this.#record.seed]
  }

  /** Two who renew at the same time get a token each, so it may go on without a store. */
  get #spendsNothing (): boolean {
    return this.#record?.seed === NO_SEED && this.#record.refresh_token === undefined
  }

  async #exchange (held: Held, trigger: RefreshTrigger, lease: Lease | undefined, attempt: Attempt): Promise<Renewed> {
    const interrupted = this.interrupted
    if (held.refreshToken !== undefined && lease !== undefined) await this.#announce(lease, attempt)
    let issued: Issued
    try {
      issued = await this.grant.exchange(held, () => {
        if (lease !== undefined && !lease.held()) throw new GrantError('unavailable', 'this process was stopped for so long that another one has taken over the renewal')
      })
    } catch (error) {
      if (!(error instanceof GrantError)) throw error
      if (error.kind !== 'revoked' || error.rotated !== undefined) await this.#withdraw(error, lease, attempt)
      if (error.kind === 'revoked') return await this.#revoke(interrupted ? cutOff(error) : error, trigger, lease, attempt)
      throw error
    }
    await this.#takeIn(issued, trigger, lease, attempt)
    const credential = this.alive
    if (credential === undefined) {
      throw new GrantError('unavailable', 'the token that was given has expired already: check this machine\'s clock, and the issuer\'s')
    }
    return { credential, how: interrupted ? 'recovered' : 'issued' }
  }

  /**
   * Notes that the refresh token is being spent, before it is: whoever finds the note without the one who wrote it knows
   * that a renewal was cut off, and that the token may be gone.
   * @throws {GrantError} where others could take the same token up and it cannot be noted
   */
  async #announce (lease: Lease, attempt: Attempt): Promise<void> {
    const record = amended(this.#record as CredentialRecord, { spending_since: this.#clock.now() })
    attempt.spent = record
    try {
      await this.kept.write(record, lease)
    } catch (error) {
      // A full disk, say, of this machine alone: the next thing to be saved here is the new pair, and that is tried until it is.
      if (this.kept.shared || error instanceof LeaseLostError) throw error
    }
    this.#hold(record)
  }

  /** The request has come to an end that is known here. What an answer of no other use brought along is kept. */
  async #withdraw (error: GrantError, lease: Lease | undefined, attempt: Attempt): Promise<void> {
    const record = this.#record as CredentialRecord
    if (error.rotated === undefined && !this.interrupted) return
    const rotated = error.rotated === undefined ? {} : { refresh_token: error.rotated.reveal() }
    await this.#replace(settled(amended(record, rotated)), lease, attempt)
  }

  /** @throws {GrantError} `unchanged`, once what did change has been kept */
  async #takeIn (issued: Issued, trigger: RefreshTrigger, lease: Lease | undefined, attempt: Attempt): Promise<void> {
    const record = settled(this.#record as CredentialRecord)
    if (issued.accessToken.reveal() !== record.access_token) return await this.#replace(nextRecord(record, issued), lease, attempt)
    const rotated = issued.refreshToken?.reveal() ?? record.refresh_token
    const refresh = rotated === undefined ? {} : { refresh_token: rotated }
    // What an upstream has refused is not made good by a longer life.
    if (trigger !== 'rejected' && prolonged(record, issued)) {
      return await this.#replace(amended(record, { ...refresh, obtained_at: issued.obtainedAt, expires_at: issued.expiresAt as number }), lease, attempt)
    }
    if (rotated !== record.refresh_token || this.interrupted) await this.#replace(amended(record, refresh), lease, attempt)
    if (this.alive !== undefined) throw new GrantError('unchanged', 'the source still gives the same token')
  }

  async #revoke (error: GrantError, trigger: RefreshTrigger, lease: Lease | undefined, attempt: Attempt): Promise<Renewed> {
    const before = this.#record as CredentialRecord
    // Nothing that a person could replace was refused, so nothing but time can mend it.
    if (before.seed === NO_SEED) return await this.#withdraw(error, lease, attempt).then(() => { throw new GrantError('unavailable', error.reason) })
    // Another process may have spent the refresh token a moment ago, or a person put a new one in place: nothing is over then.
    const held = await this.#catchUp()
    if (this.#record?.seed === before.seed && this.#record.revision === before.revision) {
      await this.#replace(settled(amended(before, { revoked: true })), lease, attempt)
      throw error
    }
    const there = this.alive
    if (there !== undefined && there.generation !== this.#base + before.generation) return { credential: there, how: 'adopted' }
    if (this.revoked) throw error
    return await this.#exchange(held, trigger, lease, attempt)
  }

  /**
   * The lease had passed on before what was won could be saved. Where whoever took over has brought nothing better about,
   * it is saved now; otherwise theirs counts.
   */
  async #settle ({ spent, won }: Attempt, lease: Lease): Promise<Renewed> {
    const stored = await this.kept.read(this.#digests)
    const better = isBetter(stored, { record: won ?? this.#record as CredentialRecord, spent: spent?.refresh_token })
    if (won !== undefined && !better) {
      await this.#replace(over(stored, won), lease, { spent, won: undefined })
    } else if (stored !== undefined) {
      this.#hold(underTerms(stored, this.grant.terms))
    }
    const credential = this.alive
    if (credential === undefined) throw new GrantError('unavailable', 'another process has taken over the renewal, and has no token yet')
    return { credential, how: better ? 'adopted' : 'issued' }
  }

  /** Saves it, and only then uses it; where it cannot be saved for now, it is used nevertheless. @throws {LeaseLostError} */
  async #replace (record: CredentialRecord, lease: Lease | undefined, attempt: Attempt): Promise<void> {
    attempt.won = record
    if (lease !== undefined) await this.kept.save(record, attempt.spent?.refresh_token, lease)
    this.#hold(record)
  }

  #hold (record: CredentialRecord): void {
    const { generation, seed } = record
    const same = this.#record?.seed === seed && this.#credential?.generation === this.#base + generation && this.#credential.expiresAt === record.expires_at
    // Of another seed, or renewed elsewhere, it may have been counted from another start; the later one has to be the higher.
    if (this.#record !== undefined && (this.#record.seed !== seed || generation < this.#record.generation)) this.#base = this.nextBase - generation
    this.#record = record
    if (!same) this.#credential = credentialOf(record, this.#base)
  }
}
