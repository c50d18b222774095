import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyServerOptions } from 'fastify'
import { ERRORS } from '../errors.js'
import { errorBody } from './reply-error.js'

/** A connection on which node:http is in the middle of an answer knows which one. */
type BusySocket = Socket & { _httpMessage?: { headersSent: boolean } | null }

export type MalformedHandlers = Required<Pick<FastifyServerOptions, 'clientErrorHandler' | 'frameworkErrors'>>
type Malformed = 'ERR_REQUEST_INVALID' | 'ERR_REQUEST_TIMEOUT'
/** The body of an answer, in the form of the listener. */
export type BodyOf = (code: Malformed, requestId: string) => string

/**
 * Answers what never becomes a request: bytes that are no HTTP, a head that is too large or too slow, a path that no
 * router can decode. The framework would answer these in a form of its own.
 * @param tell is told of each that was malformed; one that was merely slow, or broke off as its sender left, is nobody's fault
 */
export function malformedRequests (tell: (requestId: string) => void, bodyOf: BodyOf = jsonRpcBody): MalformedHandlers {
  return {
    clientErrorHandler (error: NodeJS.ErrnoException, socket) {
      if (error.code === 'ECONNRESET' || socket.destroyed) return
      const requestId = randomBytes(9).toString('base64url')
      const code = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 'ERR_REQUEST_TIMEOUT' : 'ERR_REQUEST_INVALID'
      if (code === 'ERR_REQUEST_INVALID' && error.code !== 'HPE_INVALID_EOF_STATE') tell(requestId)
      // In the middle of an answer these bytes would become part of it.
      if (socket.writable && (socket as BusySocket)._httpMessage?.headersSent !== true) socket.write(answer(code, bodyOf(code, requestId)))
      socket.destroy()
    },
    frameworkErrors (_error, request, reply) {
      tell(request.id)
      refuse(reply, bodyOf('ERR_REQUEST_INVALID', request.id))
    },
  }
}

function jsonRpcBody (code: Malformed, requestId: string): string {
  return errorBody(code, null, requestId)
}

function refuse (reply: FastifyReply, body: string): void {
  reply.code(ERRORS.ERR_REQUEST_INVALID.status).header('content-type', 'application/json').header('cache-control', 'no-store').send(body)
}

function answer (code: Malformed, body: string): string {
  const { status } = ERRORS[code]
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`, 'content-type: application/json', 'cache-control: no-store',
    `content-length: ${Buffer.byteLength(body)}`, 'connection: close', '', body,
  ].join('\r\n')
}
