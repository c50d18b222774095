import { pause, type Clock } from '../clock.js'
import { ValetError } from '../errors.js'
import type { Credential, CredentialSource, RefreshTrigger } from './credential.js'
import { unavailable } from './failure.js'
import { Flights, type FlightsOptions } from './flights.js'
import { GrantError, type Grant } from './grants/grant.js'
import { phaseOf } from './lifetime.js'
import { stateOf, type ProviderStatus } from './status.js'
import { Verdicts } from './verdicts.js'
import { within } from './within.js'

/** While a token is still good, a caller waits this long at most for a better one. */
const PATIENCE_WHILE_GOOD = 1_000

export type ProviderOptions = FlightsOptions

/**
 * The credential of one principal at one upstream: gives the current one, renews it ahead of its expiry, and renews it
 * once for all callers whose copy was refused.
 */
export class Provider implements CredentialSource {
  readonly principal: string
  readonly upstream: string
  readonly #clock: Clock
  readonly #flights: Flights
  readonly #verdicts = new Verdicts()

  constructor (options: ProviderOptions) {
    this.principal = options.principal
    this.upstream = options.upstream
    this.#clock = options.clock
    this.#flights = new Flights(options)
  }

  /** Where it is renewed (`Grant.asks`). */
  get asks (): string {
    return this.#flights.renewal.grant.asks
  }

  /** Takes up what was kept from before, or gets a first token, so that the first call need not wait. Never throws. */
  async warm (): Promise<void> {
    await this.#flights.warm()
  }

  /** As `Flights.replace`. */
  async replace (grant: Grant, keptAs: string): Promise<void> {
    await this.#flights.replace(grant, keptAs)
  }

  /** Another process has saved something. Never throws. */
  async notice (): Promise<void> {
    await this.#flights.notice()
  }

  current (): Credential | undefined {
    const { credential } = this.#flights.renewal
    const phase = credential === undefined ? 'dead' : phaseOf(credential, this.#clock.now())
    return phase === 'valid' || phase === 'expiring' ? credential : undefined
  }

  async usable (deadline: number): Promise<Credential> {
    const good = this.current()
    if (good !== undefined) return good
    if (this.#flights.renewal.alive !== undefined) {
      // It is about to expire but still good, so an issuer in trouble must not cost the caller more than a moment.
      const patience = (this.#flights.startedAt ?? this.#clock.elapsed()) + PATIENCE_WHILE_GOOD
      const there = await this.#within(this.#flights.once('expired'), Math.min(deadline, patience)).catch(() => this.#flights.renewal.alive)
      if (there !== undefined) return there
    }
    return await this.#renewUntil(() => this.#flights.renewal.alive, 'expired', deadline)
  }

  async renew (refused: Credential, trigger: RefreshTrigger, deadline: number): Promise<Credential> {
    const newer = (): Credential | undefined => {
      const held = this.#flights.renewal.credential
      return held !== undefined && held.generation > refused.generation ? held : undefined
    }
    const there = newer()
    if (there !== undefined) return there
    if (this.#verdicts.tooEarly(refused, this.#clock.elapsed())) return refused
    const next = await this.#renewUntil(newer, trigger, deadline, refused)
    if (next !== refused) this.#verdicts.renewed(refused, next, this.#clock.elapsed())
    return next
  }

  /**
   * Renews it now, for whoever asks for that by hand. That its source still has the same token is no failure.
   * @param deadline milliseconds on the clock's monotonic scale
   * @throws {GrantError | ValetError}
   */
  async refresh (deadline: number): Promise<void> {
    await this.#within(this.#flights.now(), deadline).catch((error: unknown) => {
      if (!(error instanceof GrantError) || error.kind !== 'unchanged') throw error
    })
  }

  accepted (credential: Credential): void {
    this.#verdicts.accepted(credential)
  }

  firstDenial (credential: Credential): boolean {
    return this.#verdicts.firstDenial(credential)
  }

  worthRenewing (credential: Credential, fresh: boolean): boolean {
    return this.#verdicts.worthRenewing(credential, fresh)
  }

  status (): ProviderStatus {
    const { renewal, failure, refreshedAt } = this.#flights
    return {
      type: renewal.grant.type,
      state: stateOf(renewal, failure, this.#clock.now()),
      expiresAt: renewal.credential?.expiresAt,
      refreshedAt,
      token: renewal.credential?.fingerprint,
      reason: failure?.error.reason,
    }
  }

  /** As `Flights.close`. */
  async close (): Promise<void> {
    await this.#flights.close()
  }

  /**
   * Renews, again and again as the failure memory allows, for as long as the caller can wait.
   * @param found what the caller is content with, should somebody else bring it about
   * @param instead given back where the source has nothing but what was refused
   */
  async #renewUntil (found: () => Credential | undefined, trigger: RefreshTrigger, deadline: number, instead?: Credential): Promise<Credential> {
    for (;;) {
      try {
        return await this.#within(this.#flights.once(trigger), deadline)
      } catch (error) {
        if (!(error instanceof GrantError)) throw error
        if (error.kind === 'revoked') throw new ValetError('ERR_CREDENTIAL_REVOKED', { cause: error })
        if (error.kind === 'unchanged' && instead !== undefined) return instead
        const { failure } = this.#flights
        const wait = Math.max(0, (failure?.retryAt ?? 0) - this.#clock.elapsed())
        // What only a person can bring about is not waited for, unless a new grant has just taken the place of the one asked.
        const vain = error.dormant && failure?.error === error
        if (vain || this.#flights.closed.aborted || this.#clock.elapsed() + wait >= deadline) throw unavailable(error, wait)
        await pause(this.#clock, wait, this.#flights.closed)
        const there = found()
        if (there !== undefined) return there
      }
    }
  }

  async #within (result: Promise<Credential>, deadline: number): Promise<Credential> {
    return await within(this.#clock, result, deadline, () => unavailable(new GrantError('unavailable', 'the renewal is still under way'), 0))
  }
}
