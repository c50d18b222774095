import type { IncomingHttpHeaders } from 'node:http'
import type { RefreshOutcome, CallEvent, RefreshEvent, ReplayOutcome } from './events.js'

/** Where spans are made of calls. Where nobody wants any, there is none, and a call has no `CallTrace`. */
export interface Tracing {
  /**
   * A call has come in.
   * @param headers of which `traceparent` and `tracestate` say what it is a part of (W3C Trace Context)
   */
  call (about: { readonly requestId: string, readonly method: string, readonly upstream: string }, headers: IncomingHttpHeaders): CallTrace
  /** A renewal that no call waited for has come to its end. */
  refreshed (event: RefreshEvent): void
}

/** The spans of one call. */
export interface CallTrace {
  /** It goes to its upstream, for the `nth` time, beginning at 1. */
  attempt (nth: number, origin: URL): AttemptTrace
  /** It waits for a credential. @returns to be called when it has come, or will not */
  refresh (trigger: RefreshEvent['trigger']): (outcome: RefreshOutcome) => void
  /** It is to be sent again, as the upstream answered `status`. */
  replay (status: number): void
  replayed (outcome: ReplayOutcome): void
  end (event: CallEvent): void
}

export interface AttemptTrace {
  /** What tells the upstream which span its own are part of: names and values in turn. */
  readonly headers: readonly string[]
  /**
   * @param status of the answer, where there was one
   * @param error a word for what befell it
   */
  end (status: number | undefined, error?: string): void
}
