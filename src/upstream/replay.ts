import type { Dispatcher } from 'undici'
import { pause, type Clock } from '../clock.js'
import type { UpstreamConfig } from '../config/config.js'
import { patienceOf, waiting } from '../credential/acquire.js'
import type { Credential, CredentialSource } from '../credential/credential.js'
import { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'
import type { Emit, ReplayOutcome } from '../telemetry/events.js'
import { Attempt, type Answer, type AttemptedCall } from './attempt.js'
import { beginningOf, type Beginning } from './beginning.js'
import type { CallOptions, Dispatch } from './inject.js'
import { challengeError, refusalOf, type Refusal } from './refusal.js'

type Policy = Pick<UpstreamConfig, 'refreshOn' | 'refreshOnAnswer' | 'replays' | 'backoff' | 'deadlineMs' | 'anonymous'>

/**
 * Renews a refused credential and sends the call again, with the same method, path and bytes. Nothing of a refused
 * answer has gone to the agent before that is decided, and a call is sent at most `1 + replays` times with a credential.
 */
export function replay (policy: Policy, clock: Clock, emit: Emit): (dispatch: Dispatch) => Dispatch {
  const shelf: Shelf = { latest: undefined }
  return (dispatch) => (options, downstream) => {
    new Replay(dispatch, options as CallOptions, downstream, policy, clock, emit, shelf).send()
    return true
  }
}

/**
 * Holds the latest attempt, and by it every object that a call is made of, until the next one comes. V8's optimised code
 * depends on the shapes of the objects it has seen, and a shape is collected with its last object: without this a
 * sidecar with little to do ran the slow code again after each collection, compiled it anew, and so on.
 */
interface Shelf { latest: Attempt | undefined }

/** What is known of an exchange whose answer may refuse a credential. */
interface WithCredential { readonly source: CredentialSource, readonly credential: Credential }

class Replay implements AttemptedCall {
  readonly exchange: Exchange
  readonly clock: Clock
  readonly downstream: Dispatcher.DispatchHandler
  readonly #dispatch: Dispatch
  readonly #options: CallOptions
  readonly #policy: Policy
  readonly #emit: Emit
  readonly #shelf: Shelf
  /** The status that led to the attempt under way. */
  #replaying: number | undefined

  constructor (dispatch: Dispatch, options: CallOptions, downstream: Dispatcher.DispatchHandler, policy: Policy, clock: Clock, emit: Emit, shelf: Shelf) {
    this.#shelf = shelf
    this.#dispatch = dispatch
    this.#options = options
    this.downstream = downstream
    this.#policy = policy
    this.clock = clock
    this.#emit = emit
    this.exchange = options.exchange
  }

  send (): void {
    const exchange = this.exchange
    exchange.attempt++
    exchange.dispatchedAt = this.clock.elapsed()
    const attempt = new Attempt(this)
    const { body } = this.#options
    // A large body, which is no Buffer here but pieces of one, is too much to keep for that.
    if (body === undefined || Buffer.isBuffer(body)) this.#shelf.latest = attempt
    this.#dispatch(this.#options, attempt)
  }

  /** Decides, as soon as an answer's head is there, whether it goes to the agent. */
  judge (attempt: Attempt, answer: Answer): void {
    const { source, credential, authority } = this.exchange
    if (credential === undefined || source === undefined) {
      // A 401 to a caller that brought no token of its own would send its OAuth client looking for a login.
      const refused = answer.status === 401 && authority !== 'relay'
      this.#closeReplay(refused ? 'refused' : 'mended')
      return refused ? this.#refuse(attempt, answer) : attempt.forward(answer)
    }
    const error = challengeError(answer.headers['www-authenticate'])
    const refusal = refusalOf(answer.status, error, this.#policy.refreshOn)
    if (refusal !== undefined || answer.status === 401) return this.#refused(attempt, answer, refusal, error ?? 'none given')
    const beginning = beginningOf(answer, this.exchange, this.#policy.refreshOnAnswer)
    if (beginning === undefined) this.#accepted(attempt, answer)
    else attempt.keep(answer, beginning)
  }

  judgeBeginning (attempt: Attempt, answer: Answer, { fitting }: Beginning): void {
    this.#guarded(attempt, answer, () => {
      if (fitting === undefined) this.#accepted(attempt, answer)
      else this.#refused(attempt, answer, 'hidden', `refresh_on_answer[${fitting}]`)
    })
  }

  #accepted (attempt: Attempt, answer: Answer): void {
    const { source, credential } = this.exchange as WithCredential
    source.accepted(credential)
    this.#closeReplay('mended')
    attempt.forward(answer)
  }

  #refused (attempt: Attempt, answer: Answer, refusal: Refusal | undefined, reason: string): void {
    const { source, credential } = this.exchange as WithCredential
    this.#closeReplay('refused')
    const mendable = refusal !== undefined && this.#mayBeStale(refusal, source, credential) && this.#mayReplay()
    this.#emit({
      event: 'rejected',
      ...this.exchange.context(),
      status: answer.status,
      token: credential.fingerprint,
      reason,
      replay: mendable,
    })
    if (mendable) {
      attempt.hold()
      void this.#mend(attempt, answer, source, credential)
    } else {
      this.#giveUp(attempt, answer)
    }
  }

  unanswered (): void {
    this.#closeReplay('failed')
  }

  /**
   * Whether another token may help. A plain 403, or an answer that hides a refusal, may be a denial in earnest: where the
   * token was got for this very call it is, and that is found out once for each token.
   */
  #mayBeStale (refusal: Refusal, source: CredentialSource, credential: Credential): boolean {
    const { refreshed } = this.exchange
    if (refusal === 'hidden') return source.worthRenewing(credential, refreshed)
    return refusal === 'stale' || (source.firstDenial(credential) && !refreshed)
  }

  #mayReplay (): boolean {
    const now = this.clock.elapsed()
    this.exchange.deadline ??= now + this.#policy.deadlineMs
    return this.exchange.attempt <= this.#policy.replays && now < this.exchange.deadline
  }

  async #mend (attempt: Attempt, answer: Answer, source: CredentialSource, refused: Credential): Promise<void> {
    let next: Credential | undefined
    let failure: unknown
    this.exchange.trace?.replay(answer.status)
    try {
      await this.#backOff()
      next = await waiting(this.exchange, 'rejected', source.renew(refused, 'rejected', patienceOf(this.exchange, this.#policy, this.clock)))
    } catch (error) {
      failure = error
    }
    this.#guarded(attempt, answer, () => this.#settle(attempt, answer, refused, next, failure))
  }

  #guarded (attempt: Attempt, answer: Answer, step: () => void): void {
    try {
      step()
    } catch (error) {
      // Outside undici's own callbacks nobody else would catch it: the process would end, and every call with it.
      this.#closeReplay('failed')
      this.#refuse(attempt, answer, error instanceof ValetError ? error : new ValetError('ERR_INTERNAL', { cause: error }))
    }
  }

  /** What becomes of a call whose answer was held, now that it is known whether there is a better credential. */
  #settle (attempt: Attempt, answer: Answer, refused: Credential, next: Credential | undefined, failure: unknown): void {
    const exchange = this.exchange
    if (exchange.gone) return attempt.drop()
    if (next !== undefined) {
      if (next.generation === refused.generation) return this.#giveUp(attempt, answer)
      exchange.credential = next
      exchange.refreshed = true
    } else {
      if (!this.#policy.anonymous.has('refresh_failed')) return this.#giveUp(attempt, answer, failure)
      this.#emit({ event: 'anonymous', ...exchange.context(), reason: 'refresh_failed' })
      exchange.credential = undefined
      exchange.authority = 'anonymous'
    }
    attempt.drop()
    this.#replaying = answer.status
    this.send()
  }

  /** A new token is tried at once. If that is refused too, its keys may not have got around yet, and time may help. */
  async #backOff (): Promise<void> {
    const earlier = this.exchange.attempt - 1
    if (earlier === 0) return
    const { baseMs, maxMs } = this.#policy.backoff
    const wait = Math.min(maxMs, baseMs * 2 ** (earlier - 1))
    await pause(this.clock, wait * (0.5 + this.clock.random() / 2))
  }

  /** What may be a denial in earnest the agent gets to read; a stale token is nothing it could act on. */
  #giveUp (attempt: Attempt, answer: Answer, error?: unknown): void {
    const stale = answer.status === 401 || challengeError(answer.headers['www-authenticate']) === 'invalid_token'
    if (stale) this.#refuse(attempt, answer, error)
    else attempt.forward(answer)
  }

  #refuse (attempt: Attempt, answer: Answer, error?: unknown): void {
    attempt.drop()
    const cause = error instanceof ValetError ? error : new ValetError('ERR_UPSTREAM_UNAUTHORIZED', { cause: error ?? `the upstream answered ${answer.status}` })
    this.downstream.onResponseError?.(attempt.controller, cause)
  }

  #closeReplay (outcome: ReplayOutcome): void {
    if (this.#replaying === undefined) return
    this.#emit({ event: 'replayed', ...this.exchange.context(), status: this.#replaying, outcome })
    this.exchange.trace?.replayed(outcome)
    this.#replaying = undefined
  }
}
