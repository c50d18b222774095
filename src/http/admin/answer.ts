import type { FastifyReply } from 'fastify'
import { CONTROL_ERRORS, ControlError, type ControlErrorCode, type Detail } from '../../control.js'

/** Says where a token belongs, and nothing that a client could take for a login (RFC 9728 §5.1). */
const CHALLENGE = 'Bearer realm="mcp-valet-admin"'

/** What the admin listener answers where it does not do what it was asked. */
export function errorBody (code: ControlErrorCode, requestId: string, details: readonly Detail[] = []): string {
  const { message } = CONTROL_ERRORS[code]
  return JSON.stringify({ error: { code, message, details, request_id: requestId } })
}

/** Sends it. Only what is in the table leaves, and details that were written to be read. */
export function replyControlError (reply: FastifyReply, error: ControlError): void {
  if (error.status === 401) reply.header('www-authenticate', CHALLENGE)
  // As text, so that no schema of a route has a say in it.
  reply.code(error.status).header('content-type', 'application/json; charset=utf-8').send(errorBody(error.code, reply.request.id, error.details))
}

/** Any error as one of the table. The framework's own 413 and 400 are errors of the request; the rest is a fault here. */
export function asControlError (thrown: unknown): ControlError {
  if (thrown instanceof ControlError) return thrown
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new ControlError('ERR_BODY_TOO_LARGE')
  if (code.startsWith('FST_ERR_CTP_')) return new ControlError('ERR_REQUEST_INVALID', [{ path: '', message: BODIES[code] ?? 'the body cannot be read' }])
  return new ControlError('ERR_INTERNAL', [], { cause: thrown })
}

/** The framework's codes, whose messages may quote what was sent. */
const BODIES: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'the body is not valid JSON',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'send the body as JSON, with Content-Type: application/json',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'the body is not as long as Content-Length says',
}
