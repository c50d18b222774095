import { setMaxListeners } from 'node:events'
import { pause, type Clock } from '../clock.js'
import type { Vault } from '../state/vault.js'
import type { Emit, RefreshEvent } from '../telemetry/events.js'
import type { Credential, RefreshTrigger } from './credential.js'
import { asGrantError, nextFailure, type Failure } from './failure.js'
import { GrantError, type Grant } from './grants/grant.js'
import { Kept, type AllUnsaved } from './kept.js'
import { untilDead, untilRefresh } from './lifetime.js'
import { Renewal } from './renewal.js'
import { failedEvent, renewedEvent, type Attempted } from './report.js'

/** How long another process may go on spending a refresh token before it is taken for cut off; longer than any lease. */
const PATIENCE_WITH_OTHERS = 15_000

export interface FlightsOptions {
  readonly principal: string
  readonly upstream: string
  readonly grant: Grant
  /** The name of its record in the vault. */
  readonly keptAs: string
  readonly vault: Vault
  readonly clock: Clock
  readonly emit: Emit
  /** Shared with whoever may take this credential up again. */
  readonly unsaved?: AllUnsaved
  /** Until it is aborted what could not be saved is tried again, though the credential was let go; unless given until `close`. */
  readonly ending?: AbortSignal
}

/** One renewal under way, which everybody who needs its result shares. */
interface Flight { readonly startedAt: number, readonly result: Promise<Credential> }

/**
 * The renewals of one credential: one at a time, none sooner after a failure than its memory allows, and the next one
 * ahead of the expiry.
 *
 * A renewal is started by whoever needs it first and belongs to nobody: a caller that gives up does not cancel it, as
 * the issuer may already have spent the refresh token that it carries.
 */
export class Flights {
  readonly #options: FlightsOptions
  readonly #clock: Clock
  readonly #unsaved: AllUnsaved
  readonly #closed = new AbortController()
  readonly #ending: AbortSignal
  #renewal: Renewal
  #flight: Flight | undefined
  #failure: Failure | undefined
  #refreshedAt: number | undefined
  /** Ends of renewals that another grant has taken the place of. */
  readonly #replaced = new Set<Promise<void>>()
  /** Monotonic milliseconds at which the background renewal is due. */
  #renewAt = Infinity
  #cancelTimer = (): void => {}

  constructor (options: FlightsOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#unsaved = options.unsaved ?? new Map()
    this.#ending = options.ending ?? this.#closed.signal
    // As many callers as there are may wait for it to close, and that is no leak.
    setMaxListeners(0, this.#closed.signal, this.#ending)
    this.#renewal = this.#renewalOf(options.grant, options.keptAs, 0)
  }

  get renewal (): Renewal {
    return this.#renewal
  }

  /** Why the last renewal failed, until one succeeds. */
  get failure (): Failure | undefined {
    return this.#failure
  }

  /** Milliseconds since the epoch. */
  get refreshedAt (): number | undefined {
    return this.#refreshedAt
  }

  /** Monotonic milliseconds; undefined where none is under way. */
  get startedAt (): number | undefined {
    return this.#flight?.startedAt
  }

  /** Aborted when nothing more is started. */
  get closed (): AbortSignal {
    return this.#closed.signal
  }

  /** Takes up what was kept from before, or gets a first token, so that the first call need not wait. Never throws. */
  async warm (): Promise<void> {
    const renewal = this.#renewal
    if (renewal.credential !== undefined || this.#flight !== undefined) return
    const there = renewal.grant.kept && await renewal.takeUp().catch(() => false)
    if (renewal !== this.#renewal || this.#flight !== undefined) return
    if (there) this.#planNext()
    else await this.once('ahead').catch(() => {})
  }

  /** Joins the flight, or starts one where the failure memory allows that. @throws {GrantError} */
  once (trigger: RefreshTrigger): Promise<Credential> {
    if (this.#flight !== undefined) return this.#flight.result
    if (this.#failure !== undefined && this.#clock.elapsed() < this.#failure.retryAt) return Promise.reject(this.#failure.error)
    if (this.#closed.signal.aborted) return Promise.reject(new GrantError('unavailable', 'mcp-valet is stopping, or this credential has come to its end'))
    const flight = { startedAt: this.#clock.elapsed(), result: this.#fly(this.#renewal, trigger) }
    const land = (): void => { if (this.#flight === flight) this.#flight = undefined }
    this.#flight = flight
    flight.result.then(land, land)
    return flight.result
  }

  /** As `once`, whatever failed before: somebody who has put something right does not want to wait until it is forgotten. */
  now (): Promise<Credential> {
    if (this.#flight === undefined && this.#failure !== undefined) this.#failure = { ...this.#failure, retryAt: this.#clock.elapsed() }
    return this.once('manual')
  }

  /**
   * Goes on with another grant: somebody has logged in anew, say. What is under way for the one before still ends, and
   * is kept; a call that was refused with its token gets one of the new grant.
   * @returns resolves once nothing will be saved any more under the name before, but by the new grant
   */
  async replace (grant: Grant, keptAs: string): Promise<void> {
    const ended = this.#end(this.#renewal, this.#flight)
    this.#replaced.add(ended)
    void ended.finally(() => this.#replaced.delete(ended))
    this.#renewal = this.#renewalOf(grant, keptAs, this.#renewal.nextBase)
    this.#flight = undefined
    this.#failure = undefined
    this.#refreshedAt = undefined
    this.#cancelTimer()
    await ended
  }

  /** Another process has saved something. Never throws. */
  async notice (): Promise<void> {
    const renewal = this.#renewal
    const { credential, revoked } = renewal
    const isNew = await renewal.look().catch(() => false)
    if (!isNew || renewal !== this.#renewal || this.#flight !== undefined) return
    // That others have tried, and failed as well, is no reason to ask an issuer in trouble any sooner.
    if (renewal.revoked !== revoked || (renewal.credential !== credential && renewal.alive !== undefined)) this.#failure = undefined
    if (renewal.interrupted) this.#plan(Math.max(this.#clock.elapsed() + PATIENCE_WITH_OTHERS, this.#failure?.retryAt ?? 0))
    else this.#planNext()
  }

  /** Starts nothing more. A renewal under way runs to its end, or the refresh token it has spent would be lost. */
  async close (): Promise<void> {
    this.#closed.abort()
    this.#cancelTimer()
    await this.#end(this.#renewal, this.#flight)
    await Promise.all(this.#replaced)
  }

  async #end (renewal: Renewal, flight: Flight | undefined): Promise<void> {
    await flight?.result.catch(() => {})
    await renewal.kept.saveAgain()
    // Nobody else may be left who would.
    for (let wait = renewal.kept.saveAgainIn; wait !== undefined && !this.#ending.aborted; wait = renewal.kept.saveAgainIn) {
      await pause(this.#clock, wait, this.#ending)
      await renewal.kept.saveAgain()
    }
  }

  async #fly (renewal: Renewal, trigger: RefreshTrigger): Promise<Credential> {
    const startedAt = this.#clock.elapsed()
    const { principal, upstream } = this.#options
    const previous = renewal.credential
    const attempted = (): Attempted => ({ principal, upstream, type: renewal.grant.type, trigger, previous, duration: this.#clock.elapsed() - startedAt })
    try {
      const renewed = await renewal.run(trigger)
      if (renewal === this.#renewal) this.#succeeded()
      this.#tell(renewedEvent(attempted(), renewed, this.#clock.now()))
      return renewed.credential
    } catch (thrown) {
      const { credential } = renewal
      const dead = credential === undefined ? undefined : untilDead(credential, this.#clock.now())
      const failure = nextFailure(this.#failure, asGrantError(thrown), this.#clock.elapsed(), this.#clock.random(), dead)
      if (renewal === this.#renewal) this.#failure = failure
      this.#tell(failedEvent(attempted(), failure, this.#clock.elapsed()))
      throw failure.error
    } finally {
      if (renewal === this.#renewal) this.#planNext()
    }
  }

  #succeeded (): void {
    this.#failure = undefined
    this.#refreshedAt = this.#clock.now()
  }

  #planNext (): void {
    this.#plan(this.#clock.elapsed() + this.#untilRenewal())
  }

  /** Milliseconds until the next background renewal; Infinity where only a 401 asks for one. */
  #untilRenewal (): number {
    const { credential } = this.#renewal
    // A token without an expiry has nothing to be ahead of, even if its source was found unchanged.
    const timeless = credential !== undefined && credential.expiresAt === undefined
    if (this.#failure?.error.dormant === true) return Infinity
    if (this.#failure !== undefined) return this.#failure.error.kind === 'unchanged' && timeless ? Infinity : this.#failure.retryAt - this.#clock.elapsed()
    return credential === undefined ? Infinity : untilRefresh(credential, this.#clock.now(), this.#clock.random()) ?? Infinity
  }

  /** Sets the one timer there is, for the next renewal or for saving what could not be saved, whichever is sooner. */
  #plan (renewAt: number): void {
    this.#cancelTimer()
    this.#renewAt = renewAt
    const delay = Math.min(renewAt - this.#clock.elapsed(), this.#renewal.kept.saveAgainIn ?? Infinity)
    if (this.#closed.signal.aborted || delay === Infinity) return
    this.#cancelTimer = this.#clock.after(delay, () => { void this.#tick(renewAt) })
  }

  async #tick (renewAt: number): Promise<void> {
    await this.#renewal.kept.saveAgain()
    // Meanwhile a flight may have landed, which has planned anew.
    if (renewAt !== this.#renewAt) return
    // A timer may fire a fraction of a millisecond early, when the failure memory would still refuse.
    if (this.#clock.elapsed() < renewAt) return this.#plan(renewAt)
    await this.once('ahead').catch(() => {})
  }

  #renewalOf (grant: Grant, keptAs: string, base: number): Renewal {
    const { vault, clock } = this.#options
    return new Renewal({ grant, kept: new Kept(keptAs, vault, (error) => this.#reportUnsaved(error), this.#unsaved), clock, base })
  }

  #tell (event: RefreshEvent | undefined): void {
    if (event !== undefined) this.#options.emit(event)
  }

  #reportUnsaved (error: unknown): void {
    const { principal, upstream, emit } = this.#options
    emit({ event: 'state_failed', principal, upstream, reason: error instanceof Error ? error.message : 'the state store refused' })
  }
}
