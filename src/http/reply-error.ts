import type { FastifyReply } from 'fastify'
import { ERRORS, ValetError, type ErrorCode } from '../errors.js'
import type { Exchange } from '../exchange.js'

/** No `resource_metadata`, ever: a client that finds one starts an OAuth dance with this origin (RFC 9728 §5.1). */
const CHALLENGE = 'Bearer realm="mcp-valet", error="invalid_token"'

/** What the sidecar answers by itself: a JSON-RPC error that echoes the request's id. */
export function errorBody (code: ErrorCode, id: string | number | null, requestId: string): string {
  const { rpc, message } = ERRORS[code]
  return JSON.stringify({ jsonrpc: '2.0', id, error: { code: rpc, message, data: { code, request_id: requestId } } })
}

/** Sends it. `error` gives the code and, where the caller should wait, how long; nothing else of it leaves. */
export function replyError (reply: FastifyReply, exchange: Pick<Exchange, 'rpc' | 'requestId'>, error: ValetError): void {
  reply.code(error.status).header('content-type', 'application/json').header('cache-control', 'no-store')
  if (error.status === 401) reply.header('www-authenticate', CHALLENGE)
  if (error.retryAfter !== undefined) reply.header('retry-after', String(error.retryAfter))
  reply.send(errorBody(error.code, exchange.rpc.id, exchange.requestId))
}

/** Any error as one of the table: what is none of ours is a fault here. */
export function asValetError (error: unknown): ValetError {
  if (error instanceof ValetError) return error
  const cause = error instanceof Error ? error.cause : undefined
  if (cause instanceof ValetError) return cause
  return new ValetError('ERR_INTERNAL', { cause: error })
}
