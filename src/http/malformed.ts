import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyServerOptions } from 'fastify'
import { ValetError, type ErrorCode } from '../errors.js'
import { NO_RPC } from '../exchange.js'
import { errorBody, replyError } from './reply-error.js'

/** A connection on which node:http is in the middle of an answer knows which one. */
type BusySocket = Socket & { _httpMessage?: { headersSent: boolean } | null }

/**
 * Answers what never becomes a request: bytes that are no HTTP, a head that is too large or too slow, a path that no
 * router can decode. The framework would answer these in a form of its own.
 * @param tell is told of each that was malformed; one that was merely slow is nobody's fault
 */
export function malformedRequests (tell: (requestId: string) => void): Pick<FastifyServerOptions, 'clientErrorHandler' | 'frameworkErrors'> {
  return {
    clientErrorHandler (error: NodeJS.ErrnoException, socket) {
      if (error.code === 'ECONNRESET' || socket.destroyed) return
      const requestId = randomBytes(9).toString('base64url')
      const late = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      if (!late) tell(requestId)
      // In the middle of an answer these bytes would become part of it.
      if (socket.writable && (socket as BusySocket)._httpMessage?.headersSent !== true) socket.write(answer(late ? 'ERR_REQUEST_TIMEOUT' : 'ERR_REQUEST_INVALID', requestId))
      socket.destroy()
    },
    frameworkErrors (_error, request, reply) {
      tell(request.id)
      replyError(reply, { rpc: NO_RPC, requestId: request.id }, new ValetError('ERR_REQUEST_INVALID'))
    },
  }
}

function answer (code: ErrorCode, requestId: string): string {
  const { status } = new ValetError(code)
  const body = errorBody(code, null, requestId)
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`, 'content-type: application/json', 'cache-control: no-store',
    `content-length: ${Buffer.byteLength(body)}`, 'connection: close', '', body,
  ].join('\r\n')
}
