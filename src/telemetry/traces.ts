import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Attributes, type Context, type Span, type Tracer } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import type { CallEvent, RefreshEvent, RefreshOutcome, ReplayOutcome } from './events.js'
import type { AttemptTrace, CallTrace, Tracing } from './tracing.js'

type Headers = Readonly<Record<string, string | string[] | undefined>>

const propagator = new W3CTraceContextPropagator()
const fromHeaders = { keys: (headers: Headers) => Object.keys(headers), get: (headers: Headers, name: string) => headers[name] }
const toHeaders = { set: (headers: string[], name: string, value: string) => { headers.push(name, value) } }

/** Characters of a name that an agent made up. */
const LONGEST_NAME = 256

/**
 * Spans of calls, named as the semantic conventions for HTTP and for MCP have it. No principal is in them, nor anything
 * secret: whoever may read traces need not be whoever may read the log.
 */
export function tracingBy (tracer: Tracer): Tracing {
  return {
    call ({ requestId, method, upstream }, headers) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, fromHeaders)
      const attributes = { 'http.request.method': method, 'mcp_valet.upstream': upstream, 'mcp_valet.request_id': requestId }
      return new SpansOfCall(tracer, tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent))
    },
    refreshed ({ trigger, upstream, type, duration, outcome }) {
      // The others are in the traces of the calls that waited for them.
      if (trigger !== 'ahead' && trigger !== 'manual') return
      const attributes = { 'mcp_valet.trigger': trigger, 'mcp_valet.upstream': upstream, 'mcp_valet.credential_type': type }
      endRefresh(tracer.startSpan('refresh', { startTime: Date.now() - duration, attributes }, ROOT_CONTEXT), outcome)
    },
  }
}

class SpansOfCall implements CallTrace {
  readonly #tracer: Tracer
  readonly #span: Span
  /** The replay under way; what is done for it is part of it. */
  #replay: Span | undefined

  constructor (tracer: Tracer, span: Span) {
    this.#tracer = tracer
    this.#span = span
  }

  attempt (nth: number, origin: URL): AttemptTrace {
    const attributes = {
      'server.address': origin.hostname,
      'server.port': Number(origin.port === '' ? (origin.protocol === 'https:' ? 443 : 80) : origin.port),
      ...(nth > 1 ? { 'http.request.resend_count': nth - 1 } : {}),
    }
    const span = this.#child('upstream', attributes, SpanKind.CLIENT)
    const headers: string[] = []
    propagator.inject(under(span), headers, toHeaders)
    return { headers, end: (status, error) => endAttempt(span, status, error) }
  }

  refresh (trigger: RefreshEvent['trigger']): (outcome: RefreshOutcome) => void {
    const span = this.#child('refresh', { 'mcp_valet.trigger': trigger })
    return (outcome) => endRefresh(span, outcome)
  }

  replay (status: number): void {
    this.#endReplay()
    this.#replay = this.#child('replay', { 'mcp_valet.refused_with': status })
  }

  replayed (outcome: ReplayOutcome): void {
    this.#replay?.setAttribute('mcp_valet.outcome', outcome)
    this.#endReplay()
  }

  end (event: CallEvent): void {
    this.#endReplay()
    const span = this.#span
    if (event.rpc_method !== 'none') span.updateName(event.rpc_method).setAttribute('mcp.method.name', event.rpc_method)
    span.setAttributes(attributesOf(event))
    if (event.status >= 500 || event.outcome === 'broken') span.setStatus({ code: SpanStatusCode.ERROR })
    span.end()
  }

  #child (name: string, attributes: Attributes, kind = SpanKind.INTERNAL): Span {
    return this.#tracer.startSpan(name, { kind, attributes }, under(this.#replay ?? this.#span))
  }

  /** One that was given up, as there was no other credential, has no outcome. */
  #endReplay (): void {
    this.#replay?.end()
    this.#replay = undefined
  }
}

function under (span: Span): Context {
  return trace.setSpan(ROOT_CONTEXT, span)
}

/** What is undefined is left out by the library. */
function attributesOf ({ status, code, outcome, agent, tool, attempt, refreshed, overhead }: CallEvent): Attributes {
  return {
    'http.response.status_code': status === 0 ? undefined : status,
    'error.type': code,
    'gen_ai.tool.name': tool?.slice(0, LONGEST_NAME),
    'mcp_valet.agent': agent?.slice(0, LONGEST_NAME),
    'mcp_valet.outcome': outcome,
    'mcp_valet.attempts': attempt,
    'mcp_valet.refreshed': refreshed,
    'mcp_valet.overhead': overhead === undefined ? undefined : overhead / 1000,
  }
}

/** For a client every status from 400 on is an error (semantic conventions for HTTP spans). */
function endAttempt (span: Span, status: number | undefined, error: string | undefined): void {
  if (status !== undefined) span.setAttribute('http.response.status_code', status)
  const type = error ?? (status !== undefined && status >= 400 ? String(status) : undefined)
  if (type !== undefined) span.setAttribute('error.type', type).setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}

function endRefresh (span: Span, outcome: RefreshOutcome): void {
  span.setAttribute('mcp_valet.outcome', outcome)
  if (outcome === 'unavailable' || outcome === 'revoked') span.setAttribute('error.type', outcome).setStatus({ code: SpanStatusCode.ERROR })
  span.end()
}
