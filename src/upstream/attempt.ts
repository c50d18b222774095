import type { Dispatcher } from 'undici'
import type { Clock } from '../clock.js'
import type { Exchange } from '../exchange.js'
import type { Beginning } from './beginning.js'

export interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly message: string | undefined
}

type Controller = Dispatcher.DispatchController

/** The call that an attempt is made for, which decides what becomes of its answer. */
export interface AttemptedCall {
  readonly exchange: Exchange
  readonly clock: Clock
  readonly downstream: Dispatcher.DispatchHandler
  /** An answer's head is there: forward, hold or drop it, or keep its beginning first. */
  judge (attempt: Attempt, answer: Answer): void
  /** It is known what a kept beginning says, or it was not to be known in time: forward, hold or drop the answer. */
  judgeBeginning (attempt: Attempt, answer: Answer, beginning: Beginning): void
  /** There is no answer, nor will there be. */
  unanswered (): void
}

const NOTHING: readonly Buffer[] = []
/** Bytes and milliseconds spent on the rest of an answer that nobody wants, to keep its connection for the next call. */
const WORTH_READING = 64 * 1024
const WORTH_WAITING = 1_000
/**
 * Milliseconds that the beginning of an answer is kept. A server that refuses a token does it sooner; from another one the
 * agent must have the head, and the id of an empty first event, before a proxy on its way loses patience.
 */
const WORTH_KEEPING = 5_000

/**
 * One sending of a call. Its answer is undecided until its head, or its beginning, has been judged; then it is forwarded,
 * or held while something is found out, or dropped.
 */
export class Attempt implements Dispatcher.DispatchHandler {
  controller!: Controller
  readonly #call: AttemptedCall
  #state: 'undecided' | 'kept' | 'forwarded' | 'held' | 'dropped' = 'undecided'
  /** What has come of an answer and not been handed on. */
  #beginning: Beginning | undefined
  #judgeBeginning: (() => void) | undefined
  /** What befell a held answer meanwhile, to be told if it is forwarded after all. */
  #brokenBy: Error | undefined
  #ended = false
  #trailers: Record<string, string | string[] | undefined> | undefined
  #unwanted = 0
  #cancelTimer: (() => void) | undefined

  constructor (call: AttemptedCall) {
    this.#call = call
  }

  forward (answer: Answer): void {
    const held = this.#state === 'held'
    const pieces = this.#take()
    const { downstream, clock } = this.#call
    this.#state = 'forwarded'
    const broken = this.#brokenBy
    const ended = this.#ended
    if (broken !== undefined && pieces.length === 0) return downstream.onResponseError?.(this.controller, broken)
    downstream.onResponseStart?.(this.controller, answer.status, answer.headers as never, answer.message)
    for (const piece of pieces) downstream.onResponseData?.(this.controller, piece)
    // Not before these are on their way: an agent can resume a stream by the id of an event that has reached it.
    if (broken !== undefined) clock.after(0, () => downstream.onResponseError?.(this.controller, broken))
    else if (ended) downstream.onResponseEnd?.(this.controller, this.#trailers as never)
    else if (held) this.controller.resume()
  }

  /** Keeps what comes until it is known what it says, but not for long. */
  keep (answer: Answer, beginning: Beginning): void {
    this.#state = 'kept'
    this.#beginning = beginning
    const { clock, exchange } = this.#call
    const since = clock.elapsed()
    this.#judgeBeginning = () => {
      this.#judgeBeginning = undefined
      this.#cancelTimer?.()
      exchange.holding += clock.elapsed() - since
      this.#call.judgeBeginning(this, answer, beginning)
    }
    this.#cancelTimer = clock.after(WORTH_KEEPING, this.#judgeBeginning)
  }

  /** Stops reading. Whatever has arrived and is not kept stays in the socket. */
  hold (): void {
    this.#state = 'held'
    if (!this.#ended) this.controller.pause()
  }

  /** Reads to the end if that is near, so that the connection can be used again; otherwise closes it. */
  drop (): void {
    this.#state = 'dropped'
    this.#take()
    if (this.#ended || this.#brokenBy !== undefined) return
    this.#cancelTimer = this.#call.clock.after(WORTH_WAITING, () => this.#cut())
    this.controller.resume()
  }

  #take (): readonly Buffer[] {
    const pieces = this.#beginning?.pieces ?? NOTHING
    this.#beginning = undefined
    return pieces
  }

  #cut (): void {
    if (!this.#ended) this.controller.abort(new Error('the rest of this answer is not wanted'))
  }

  #end (): void {
    this.#ended = true
    this.#cancelTimer?.()
    // Left there it would tie each call to undici's next one on this connection, and a young generation of garbage
    // would grow old before it is collected: four times the time of the collector, measured.
    if (this.#call.exchange.abort === this.#abort) this.#call.exchange.abort = undefined
  }

  readonly #abort = (reason: Error): void => this.controller.abort(reason)

  onRequestStart (controller: Controller, context: unknown): void {
    this.controller = controller
    this.#call.exchange.abort = this.#abort
    if (this.#call.exchange.gone) controller.abort(new Error('the agent has gone'))
    this.#call.downstream.onRequestStart?.(controller, context)
  }

  onResponseStart (controller: Controller, status: number, headers: Answer['headers'], message?: string): void {
    // 1xx come by here too, and are no answer (RFC 9110 §15.2).
    if (status < 200) return
    this.controller = controller
    this.#call.exchange.upstreamWaits.push(this.#call.clock.elapsed() - this.#call.exchange.dispatchedAt)
    this.#call.judge(this, { status, headers, message })
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    if (this.#state === 'forwarded') return this.#call.downstream.onResponseData?.(controller, chunk)
    if (this.#beginning !== undefined) {
      if (this.#beginning.write(chunk)) this.#judgeBeginning?.()
      return
    }
    this.#unwanted += chunk.length
    if (this.#unwanted > WORTH_READING) this.#cut()
  }

  onResponseEnd (controller: Controller, trailers: Record<string, string | string[] | undefined>): void {
    this.#end()
    if (this.#state === 'forwarded') return this.#call.downstream.onResponseEnd?.(controller, trailers as never)
    this.#trailers = trailers
    if (this.#state !== 'kept') return
    this.#beginning?.end()
    this.#judgeBeginning?.()
  }

  onResponseError (controller: Controller, error: Error): void {
    this.#end()
    if (this.#state === 'dropped') return
    const begun = this.#state === 'kept' && this.#beginning?.isStream === true && !this.#call.exchange.gone
    if (this.#state === 'held' || begun) {
      this.#brokenBy = error
      return this.#judgeBeginning?.()
    }
    this.#take()
    if (this.#state !== 'forwarded') this.#call.unanswered()
    this.#call.downstream.onResponseError?.(controller, error)
  }
}
