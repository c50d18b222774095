import type { FastifyReply } from 'fastify'
import type { Clock } from '../clock.js'
import type { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'
import type { CallEvent, CallOutcome, Emit } from '../telemetry/events.js'
import { faultOf } from '../telemetry/fault.js'
import { replyError } from './reply-error.js'

interface Telemetry { readonly clock: Clock, readonly emit: Emit }

/** The upstream's answer has gone to the agent, all of it. */
export function answered (exchange: Exchange, { emit }: Telemetry): void {
  report(exchange, successOf(exchange), emit)
}

/** The sidecar answers itself. What a caller suffers from goes to the log with its reason, which the answer leaves out. */
export function fail (exchange: Exchange, reply: FastifyReply, error: ValetError, { emit }: Telemetry): void {
  if (exchange.gone || reply.sent) return
  exchange.status = error.status
  exchange.code = error.code
  if (error.code === 'ERR_INTERNAL') emit({ event: 'internal_error', request_id: exchange.requestId, reason: faultOf(error.cause) })
  else if (error.status >= 500) emit({ event: 'failed', ...exchange.context(), code: error.code, reason: reasonOf(error) })
  else emit({ event: 'denied', ...exchange.context(), code: error.code, ...(typeof error.cause === 'string' ? { reason: error.cause } : {}) })
  replyError(reply, exchange, error)
  report(exchange, 'error', emit)
}

/** The sidecar answers in the upstream's place, with what the protocol has for that. */
export function answer (exchange: Exchange, reply: FastifyReply, { status, type, body }: { status: number, type?: string, body?: string }, { emit }: Telemetry): void {
  if (exchange.gone) return
  exchange.status = status
  reply.code(status).header('cache-control', 'no-store')
  if (type !== undefined) reply.header('content-type', type)
  reply.send(body)
  report(exchange, 'error', emit)
}

/** The connection has closed. Where that was before all of an answer, the upstream call is taken back. */
export function abandon (exchange: Exchange, { emit }: Telemetry, finished: boolean): void {
  if (finished) return
  exchange.gone = true
  exchange.abort?.(new Error('the agent has gone'))
  report(exchange, partingOf(exchange), emit)
}

function successOf ({ attempt }: Exchange): CallOutcome {
  return attempt > 1 ? 'replayed' : 'ok'
}

/** How an answer ended that did not come to its end. In MCP a GET listens until the agent leaves, which is no failure. */
function partingOf (exchange: Exchange): CallOutcome {
  if (exchange.code !== undefined) return 'broken'
  return exchange.method === 'GET' && exchange.firstByteAt !== undefined ? successOf(exchange) : 'aborted'
}

function report (exchange: Exchange, outcome: CallOutcome, emit: Emit): void {
  if (exchange.reported) return
  exchange.reported = true
  const { caller = exchange.lapsed, rpc, attempt } = exchange
  const event: CallEvent = {
    event: 'call',
    request_id: exchange.requestId,
    principal: caller?.principal,
    agent: caller?.agent,
    upstream: exchange.upstream,
    method: exchange.method,
    rpc_method: rpc.method,
    tool: rpc.tool,
    attempt,
    status: exchange.status,
    outcome,
    code: exchange.code,
    refreshed: exchange.refreshed,
    first_byte: exchange.firstByteAt === undefined ? undefined : exchange.firstByteAt - exchange.startedAt,
    overhead: exchange.overhead(),
    upstream_waits: exchange.upstreamWaits,
  }
  exchange.trace?.end(event)
  emit(event)
}

/** The innermost cause that is made of known words: a code, a reason of ours, never a message of somebody else's. */
function reasonOf (error: ValetError): string {
  const { cause } = error
  if (typeof cause === 'string') return cause
  if (cause instanceof Error && 'reason' in cause && typeof cause.reason === 'string') return cause.reason
  return cause instanceof Error && cause.name === 'ValetError' ? reasonOf(cause as ValetError) : 'no further reason'
}
