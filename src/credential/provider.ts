import { setMaxListeners } from 'node:events'
import { pause, type Clock } from '../clock.js'
import { ValetError } from '../errors.js'
import type { Vault } from '../state/vault.js'
import type { Emit, RefreshEvent } from '../telemetry/events.js'
import type { Credential, CredentialSource, CredentialState, RefreshTrigger } from './credential.js'
import { asGrantError, nextFailure, unavailable, type Failure } from './failure.js'
import { GrantError, type Grant } from './grants/grant.js'
import { phaseOf, untilRefresh } from './lifetime.js'
import { Renewal } from './renewal.js'
import { failedEvent, renewedEvent, type Attempted } from './report.js'
import { Verdicts } from './verdicts.js'

/** While a token is still good, a caller waits this long at most for a better one. */
const PATIENCE_WHILE_GOOD = 1_000

export interface ProviderOptions {
  readonly principal: string
  readonly upstream: string
  readonly grant: Grant
  readonly vault: Vault
  readonly clock: Clock
  readonly emit: Emit
}

/** How a credential stands. Times in milliseconds since the epoch. */
export interface ProviderStatus {
  readonly state: CredentialState
  readonly expiresAt: number | undefined
  readonly refreshedAt: number | undefined
  /** Why the last renewal failed, if it did. */
  readonly reason: string | undefined
}

/** One renewal under way, which everybody who needs its result shares. */
interface Flight { readonly startedAt: number, readonly result: Promise<Credential> }

/**
 * The credential of one principal at one upstream: gives the current one, renews it ahead of its expiry, and renews it
 * once for all callers whose copy was refused.
 *
 * A renewal is started by whoever needs it first and belongs to nobody: a caller that gives up does not cancel it, as
 * the issuer may already have spent the refresh token that it carries.
 */
export class Provider implements CredentialSource {
  readonly principal: string
  readonly upstream: string
  /** Where it is renewed (`Grant.asks`). */
  readonly asks: string
  readonly #grant: Grant
  readonly #clock: Clock
  readonly #emit: Emit
  readonly #renewal: Renewal
  readonly #closed = new AbortController()
  #flight: Flight | undefined
  #failure: Failure | undefined
  readonly #verdicts = new Verdicts()
  #refreshedAt: number | undefined
  /** Monotonic milliseconds at which the background renewal is due. */
  #renewAt = Infinity
  #cancelTimer = (): void => {}

  constructor (options: ProviderOptions) {
    this.principal = options.principal
    this.upstream = options.upstream
    this.asks = options.grant.asks
    this.#grant = options.grant
    this.#clock = options.clock
    this.#emit = options.emit
    // As many callers as there are may wait for it to close, and that is no leak.
    setMaxListeners(0, this.#closed.signal)
    this.#renewal = new Renewal({ ...options, onUnsaved: (error) => this.#reportUnsaved(error) })
  }

  /** Takes up what was kept from before, or gets a first token, so that the first call need not wait. Never throws. */
  async warm (): Promise<void> {
    if (this.#renewal.credential === undefined) await this.#renewOnce('ahead').catch(() => {})
  }

  current (): Credential | undefined {
    const { credential } = this.#renewal
    const phase = credential === undefined ? 'dead' : phaseOf(credential, this.#clock.now())
    return phase === 'valid' || phase === 'expiring' ? credential : undefined
  }

  async usable (deadline: number): Promise<Credential> {
    const good = this.current()
    if (good !== undefined) return good
    if (this.#alive() !== undefined) {
      // It is about to expire but still good, so an issuer in trouble must not cost the caller more than a moment.
      const patience = (this.#flight?.startedAt ?? this.#clock.elapsed()) + PATIENCE_WHILE_GOOD
      const there = await this.#within(this.#renewOnce('expired'), Math.min(deadline, patience)).catch(() => this.#alive())
      if (there !== undefined) return there
    }
    return await this.#renewUntil(() => this.#alive(), 'expired', deadline)
  }

  async renew (refused: Credential, trigger: RefreshTrigger, deadline: number): Promise<Credential> {
    const newer = (): Credential | undefined => {
      const held = this.#renewal.credential
      return held !== undefined && held.generation > refused.generation ? held : undefined
    }
    const there = newer()
    if (there !== undefined) return there
    if (this.#verdicts.tooEarly(refused, this.#clock.elapsed())) return refused
    const next = await this.#renewUntil(newer, trigger, deadline, refused)
    if (next !== refused) this.#verdicts.renewed(refused, next, this.#clock.elapsed())
    return next
  }

  accepted (credential: Credential): void {
    this.#verdicts.accepted(credential)
  }

  firstDenial (credential: Credential): boolean {
    return this.#verdicts.firstDenial(credential)
  }

  status (): ProviderStatus {
    return {
      state: this.#state(),
      expiresAt: this.#renewal.credential?.expiresAt,
      refreshedAt: this.#refreshedAt,
      reason: this.#failure?.error.reason,
    }
  }

  /** Starts nothing more. A renewal under way runs to its end, or the refresh token it has spent would be lost. */
  async close (): Promise<void> {
    this.#closed.abort()
    this.#cancelTimer()
    await this.#flight?.result.catch(() => {})
    await this.#renewal.save()
  }

  #state (): CredentialState {
    const alive = this.#alive()
    if (alive !== undefined) return phaseOf(alive, this.#clock.now()) === 'valid' ? 'valid' : 'expiring'
    if (this.#renewal.revoked) return 'revoked'
    return this.#renewal.credential === undefined || this.#failure !== undefined ? 'failed' : 'expired'
  }

  #alive (): Credential | undefined {
    const credential = this.#renewal.credential
    return credential !== undefined && phaseOf(credential, this.#clock.now()) !== 'dead' ? credential : undefined
  }

  /**
   * Renews, again and again as the failure memory allows, for as long as the caller can wait.
   * @param found what the caller is content with, should somebody else bring it about
   * @param instead given back where the source has nothing but what was refused
   */
  async #renewUntil (found: () => Credential | undefined, trigger: RefreshTrigger, deadline: number, instead?: Credential): Promise<Credential> {
    for (;;) {
      try {
        return await this.#within(this.#renewOnce(trigger), deadline)
      } catch (error) {
        if (!(error instanceof GrantError)) throw error
        if (error.kind === 'revoked') throw new ValetError('ERR_CREDENTIAL_REVOKED', { cause: error })
        if (error.kind === 'unchanged' && instead !== undefined) return instead
        const wait = Math.max(0, (this.#failure?.retryAt ?? 0) - this.#clock.elapsed())
        if (this.#closed.signal.aborted || this.#clock.elapsed() + wait >= deadline) throw unavailable(error, wait)
        await pause(this.#clock, wait, this.#closed.signal)
        const there = found()
        if (there !== undefined) return there
      }
    }
  }

  async #within (result: Promise<Credential>, deadline: number): Promise<Credential> {
    let cancel = (): void => {}
    const late = new Promise<never>((_resolve, reject) => {
      const error = unavailable(new GrantError('unavailable', 'the renewal is still under way'), 0)
      cancel = this.#clock.after(deadline - this.#clock.elapsed(), () => reject(error))
    })
    try {
      return await Promise.race([result, late])
    } finally {
      cancel()
    }
  }

  /** Joins the flight, or starts one where the failure memory allows that. */
  #renewOnce (trigger: RefreshTrigger): Promise<Credential> {
    if (this.#flight !== undefined) return this.#flight.result
    if (this.#failure !== undefined && this.#clock.elapsed() < this.#failure.retryAt) return Promise.reject(this.#failure.error)
    if (this.#closed.signal.aborted) return Promise.reject(new GrantError('unavailable', 'mcp-valet is stopping'))
    const flight = { startedAt: this.#clock.elapsed(), result: this.#fly(trigger) }
    const land = (): void => { if (this.#flight === flight) this.#flight = undefined }
    this.#flight = flight
    flight.result.then(land, land)
    return flight.result
  }

  async #fly (trigger: RefreshTrigger): Promise<Credential> {
    const startedAt = this.#clock.elapsed()
    const { principal, upstream } = this
    const previous = this.#renewal.credential
    const attempted = (): Attempted => ({ principal, upstream, type: this.#grant.type, trigger, previous, duration: this.#clock.elapsed() - startedAt })
    try {
      const renewed = await this.#renewal.run(trigger)
      this.#failure = undefined
      this.#refreshedAt = this.#clock.now()
      this.#tell(renewedEvent(attempted(), renewed, this.#clock.now()))
      return renewed.credential
    } catch (thrown) {
      this.#failure = nextFailure(this.#failure, asGrantError(thrown), this.#clock.elapsed(), this.#clock.random())
      this.#tell(failedEvent(attempted(), this.#failure, this.#clock.elapsed()))
      throw this.#failure.error
    } finally {
      this.#plan(this.#clock.elapsed() + this.#untilRenewal())
    }
  }

  /** Milliseconds until the next background renewal; Infinity where only a 401 asks for one. */
  #untilRenewal (): number {
    const { credential } = this.#renewal
    // A token without an expiry has nothing to be ahead of, even if its source was found unchanged.
    const timeless = credential !== undefined && credential.expiresAt === undefined
    if (this.#failure !== undefined) return this.#failure.error.kind === 'unchanged' && timeless ? Infinity : this.#failure.retryAt - this.#clock.elapsed()
    return credential === undefined ? Infinity : untilRefresh(credential, this.#clock.now(), this.#clock.random()) ?? Infinity
  }

  /** Sets the one timer there is, for the next renewal or for saving what could not be saved, whichever is sooner. */
  #plan (renewAt: number): void {
    this.#cancelTimer()
    this.#renewAt = renewAt
    const delay = Math.min(renewAt - this.#clock.elapsed(), this.#renewal.saveAgainIn ?? Infinity)
    if (this.#closed.signal.aborted || delay === Infinity) return
    this.#cancelTimer = this.#clock.after(delay, () => { void this.#tick(renewAt) })
  }

  async #tick (renewAt: number): Promise<void> {
    await this.#renewal.save()
    // Meanwhile a flight may have landed, which has planned anew.
    if (renewAt !== this.#renewAt) return
    // A timer may fire a fraction of a millisecond early, when the failure memory would still refuse.
    if (this.#clock.elapsed() < renewAt) return this.#plan(renewAt)
    await this.#renewOnce('ahead').catch(() => {})
  }

  #tell (event: RefreshEvent | undefined): void {
    if (event !== undefined) this.#emit(event)
  }

  #reportUnsaved (error: unknown): void {
    const reason = error instanceof Error ? error.message : 'the state store refused'
    this.#emit({ event: 'state_failed', principal: this.principal, upstream: this.upstream, reason })
  }
}
