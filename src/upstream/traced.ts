import type { Dispatcher } from 'undici'
import type { Exchange } from '../exchange.js'
import type { AttemptTrace } from '../telemetry/tracing.js'
import { reasonOf } from './failure.js'
import type { CallOptions, Dispatch } from './inject.js'

type Handler = Dispatcher.DispatchHandler
type Controller = Dispatcher.DispatchController

const TRACE_HEADERS: ReadonlySet<string> = new Set(['traceparent', 'tracestate'])

/**
 * Makes a span of each attempt, and tells the upstream of it in place of the agent's own span (W3C Trace Context §3.4).
 * Inside the replay, so that each attempt has its own.
 */
export function traced (origin: URL): (dispatch: Dispatch) => Dispatch {
  return (dispatch) => (options, handler) => {
    const call = options as CallOptions
    const { exchange, headers } = call
    const attempt = exchange.trace?.attempt(exchange.attempt, origin)
    if (attempt === undefined) return dispatch(call, handler)
    return dispatch({ ...call, headers: [...withoutTrace(headers), ...attempt.headers] } as CallOptions, new Traced(handler, attempt, exchange))
  }
}

function withoutTrace (headers: readonly string[]): string[] {
  return headers.filter((_, i) => !TRACE_HEADERS.has((headers[i - i % 2] as string).toLowerCase()))
}

/** Passes everything on, and notes how the attempt ended. */
class Traced implements Handler {
  readonly #next: Handler
  readonly #attempt: AttemptTrace
  readonly #exchange: Exchange
  #status: number | undefined

  constructor (next: Handler, attempt: AttemptTrace, exchange: Exchange) {
    this.#next = next
    this.#attempt = attempt
    this.#exchange = exchange
  }

  onRequestStart (controller: Controller, context: unknown): void {
    this.#next.onRequestStart?.(controller, context)
  }

  onResponseStart (controller: Controller, status: number, headers: never, message?: string): void {
    if (status >= 200) this.#status = status
    this.#next.onResponseStart?.(controller, status, headers, message)
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    this.#next.onResponseData?.(controller, chunk)
  }

  onResponseEnd (controller: Controller, trailers: never): void {
    this.#attempt.end(this.#status)
    this.#next.onResponseEnd?.(controller, trailers)
  }

  onResponseError (controller: Controller, error: Error): void {
    // Taken back because the agent has gone: nothing befell the upstream.
    this.#attempt.end(this.#status, this.#exchange.gone ? undefined : reasonOf(error))
    this.#next.onResponseError?.(controller, error)
  }
}
