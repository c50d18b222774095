import { ValetError } from '../errors.js'

/** What a code means and what to do, in the log beside it; the first that fits counts. */
const SAID: ReadonlyArray<readonly [code: RegExp, what: string]> = [
  [/ALERT.*(?:CERTIFICATE|UNKNOWN_CA)/, 'the server does not take the client certificate, or wants one: see tls.cert and tls.key of this upstream'],
  [/ALTNAME/, 'its certificate is for another name: correct the url of this upstream, or give the name as its tls.server_name'],
  [/CERT_HAS_EXPIRED/, 'its certificate has expired: renew it at the server'],
  [/CERT_NOT_YET_VALID/, 'its certificate is not valid yet: check the clocks of both'],
  [/CERT|SELF_SIGNED|ISSUER|UNABLE_TO_VERIFY/, 'its certificate is not trusted: name its CA as tls.ca of this upstream'],
  [/^EPROTO$|^ERR_SSL_(?:WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)/, 'this is no TLS: if the server speaks plain HTTP, the url of this upstream begins with http://'],
  [/^HPE_|^HTTPParserError$/, 'its answer is not valid HTTP: correct the server, or, where it speaks TLS, the url of this upstream to https://'],
  [/^(?:UND_ERR_SOCKET|ECONNRESET|EPIPE)$/, 'the connection broke off before an answer, and the call may have been carried out'],
]

/** What an undici error means to the agent; to the log goes its code, with what to do where that is known. One of ours means itself. */
export function failureOf (error: Error): ValetError {
  if (error instanceof ValetError) return error
  const code = codeOf(error)
  const said = SAID.find(([pattern]) => pattern.test(code || error.name))?.[1]
  const cause = said === undefined ? reasonOf(error) : `${code || error.name}: ${said}`
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
