import type { Dispatcher } from 'undici'
import type { Clock } from '../clock.js'
import type { Exchange } from '../exchange.js'

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
  /** An answer's head is there: forward, hold or drop it. */
  judge (attempt: Attempt, answer: Answer): void
  /** There is no answer, nor will there be. */
  unanswered (): void
}

/** Bytes and milliseconds spent on the rest of an answer that nobody wants, to keep its connection for the next call. */
const WORTH_READING = 64 * 1024
const WORTH_WAITING = 1_000

/**
 * One sending of a call. Its answer is undecided until its head has been judged; then it is forwarded, or held while
 * something is found out, or dropped.
 */
export class Attempt implements Dispatcher.DispatchHandler {
  controller!: Controller
  readonly #call: AttemptedCall
  #state: 'undecided' | 'forwarded' | 'held' | 'dropped' = 'undecided'
  /** What befell a held answer meanwhile, to be told if it is forwarded after all. */
  #brokenBy: Error | undefined
  #ended = false
  #unwanted = 0
  #cancelCut: (() => void) | undefined

  constructor (call: AttemptedCall) {
    this.#call = call
  }

  forward (answer: Answer): void {
    const held = this.#state === 'held'
    this.#state = 'forwarded'
    if (this.#brokenBy !== undefined) return this.#call.downstream.onResponseError?.(this.controller, this.#brokenBy)
    this.#call.downstream.onResponseStart?.(this.controller, answer.status, answer.headers as never, answer.message)
    if (held) this.controller.resume()
  }

  /** Stops reading. Whatever has arrived stays in the socket. */
  hold (): void {
    this.#state = 'held'
    this.controller.pause()
  }

  /** Reads to the end if that is near, so that the connection can be used again; otherwise closes it. */
  drop (): void {
    this.#state = 'dropped'
    if (this.#ended || this.#brokenBy !== undefined) return
    this.#cancelCut = this.#call.clock.after(WORTH_WAITING, () => this.#cut())
    this.controller.resume()
  }

  #cut (): void {
    if (!this.#ended) this.controller.abort(new Error('the rest of this answer is not wanted'))
  }

  #end (): void {
    this.#ended = true
    this.#cancelCut?.()
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
    this.#unwanted += chunk.length
    if (this.#unwanted > WORTH_READING) this.#cut()
  }

  onResponseEnd (controller: Controller, trailers: Record<string, string | string[] | undefined>): void {
    this.#end()
    if (this.#state === 'forwarded') this.#call.downstream.onResponseEnd?.(controller, trailers as never)
  }

  onResponseError (controller: Controller, error: Error): void {
    this.#end()
    if (this.#state === 'dropped') return
    if (this.#state === 'held') {
      this.#brokenBy = error
      return
    }
    if (this.#state === 'undecided') this.#call.unanswered()
    this.#call.downstream.onResponseError?.(controller, error)
  }
}
