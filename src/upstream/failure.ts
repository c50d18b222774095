import { ValetError } from '../errors.js'

/** What an undici error means to the agent; the error itself goes to the log, as its code. One of ours means itself. */
export function failureOf (error: Error): ValetError {
  if (error instanceof ValetError) return error
  const code = codeOf(error)
  const cause = reasonOf(error)
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return new ValetError('ERR_UPSTREAM_TIMEOUT', { cause })
  // undici names the parser's own code only for some of its errors.
  if (error.name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return new ValetError('ERR_UPSTREAM_INVALID', { cause })
  // The pool was closed under the call: that is this process stopping, and says nothing about the upstream.
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') return new ValetError('ERR_SHUTTING_DOWN', { cause })
  return new ValetError('ERR_UPSTREAM_UNREACHABLE', { cause })
}

/** The words for the log: a code where there is one, since an error's message may quote the request. */
export function reasonOf (error: unknown): string {
  if (typeof error === 'string') return error
  if (!(error instanceof Error)) return 'unknown'
  if (error.name === 'SecretRefError') return error.message
  return codeOf(error) || error.name
}

function codeOf (error: Error): string {
  // Several addresses tried in vain come as one error around theirs.
  const first = error instanceof AggregateError ? error.errors[0] as unknown : error
  const code = first instanceof Error && 'code' in first ? first.code : undefined
  return typeof code === 'string' ? code : ''
}
