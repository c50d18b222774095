import { causeCode, parseObject, UnfitAnswer } from '../../issuer-answer.js'
import { exchange, type Answer, type Question } from '../../issuer-exchange.js'
import { GrantError, LONGEST_RETRY_AFTER } from './grant.js'

/** How long a token endpoint may take. */
const PATIENCE_MS = 10_000

/** Error codes that may be repeated in a log: RFC 6749 §5.2, RFC 8707 §2, RFC 8693 §2.2.2, RFC 9449 §5. */
const KNOWN_ERRORS = new Set([
  'invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope',
  'invalid_target', 'temporarily_unavailable', 'server_error', 'slow_down', 'access_denied', 'use_dpop_nonce',
])

/** The grant is over: RFC 6749 §5.2, and GitHub's word for the same. */
const OVER = new Set(['invalid_grant', 'bad_refresh_token'])

/** Statuses of a place where there is no token endpoint, or none any more. */
const GONE = new Set([404, 405, 410])

export interface AskOptions {
  /** Wall-clock milliseconds, to read a `Retry-After` date against. */
  readonly now: () => number
  /** Who is asked, for messages. */
  readonly whom?: string
  readonly patienceMs?: number
  /**
   * What to look at where the grant itself is refused: the end of a sentence. With it `invalid_grant` is no end of
   * anything, as there is no grant that a person could give anew.
   */
  readonly refused?: string | undefined
  /** What to look at where the client is refused: the end of a sentence. */
  readonly refusedClient?: string | undefined
}

/**
 * One exchange with a token endpoint or its like: bounded in time and size, no redirect followed, since a redirect would carry the
 * grant to a place that the config does not name.
 *
 * An OAuth error counts as one whatever its HTTP status, as there are issuers that answer it with 200.
 * @returns the answer's body
 * @throws {GrantError} unless the answer is a 2xx JSON object without an `error`
 */
export async function askTokenEndpoint (url: string, question: Question, options: AskOptions): Promise<Record<string, unknown>> {
  const { now, whom = 'the token endpoint', patienceMs = PATIENCE_MS, refused } = options
  const patience = AbortSignal.timeout(patienceMs)
  let answer: Answer
  try {
    answer = await exchange(new URL(url), question, { signal: patience })
  } catch (error) {
    if (error instanceof UnfitAnswer) throw new GrantError('unavailable', `the answer of ${whom} is ${error.message}`)
    if (patience.aborted) throw new GrantError('unavailable', `${whom} did not answer within ${patienceMs / 1000} s`)
    throw new GrantError('unavailable', `${whom} cannot be reached (${causeCode(error)})`, { gone: true })
  }
  const { status, headers } = answer
  const body = parseObject(answer.text)
  const failed = typeof body?.error === 'string' && body.error !== '' ? body.error : undefined
  // One that is overloaded or has failed has decided nothing, whatever it says.
  const decided = status < 429
  if (failed !== undefined && OVER.has(failed) && decided && refused === undefined) throw new GrantError('revoked', `the issuer answered ${failed} (HTTP ${status})`)
  if (failed !== undefined || !(status >= 200 && status < 300)) {
    const word = failed === undefined ? 'no OAuth error' : KNOWN_ERRORS.has(failed) ? failed : 'an error code of its own'
    throw new GrantError('unavailable', `${whom} answered HTTP ${status} with ${word}${hint(status, failed, options)}`, {
      retryAfter: retryAfter(headers['retry-after'], now()),
      gone: failed === undefined && GONE.has(status),
    })
  }
  if (body === undefined) throw new GrantError('unavailable', `${whom} answered HTTP ${status} with something that is no JSON object`)
  return body
}

function hint (status: number, error: string | undefined, { refused, refusedClient = 'check client_id, client_auth and client_secret or client_key' }: AskOptions): string {
  // RFC 8693 §2.2.2 has invalid_request for a token that is not accepted.
  if (refused !== undefined && (error === 'invalid_grant' || error === 'invalid_request')) return `: ${refused}`
  if (error === 'invalid_client' || error === 'unauthorized_client') return `: ${refusedClient}`
  if (error === 'invalid_target') return ': set resource to what the issuer knows, or to none; an audience must be one that it knows, too'
  if (error === 'invalid_scope') return ': check scope, resource and audience'
  if (status >= 300 && status < 400) return ': a redirect is never followed, so name the endpoint it leads to'
  if (status === 404) return ': check its URL'
  return ''
}

/** `Retry-After` (RFC 9110 §10.2.3), seconds or a date, as milliseconds from now; capped, since a mistake there must not put a principal out of service for a day. */
export function retryAfter (value: string | null | undefined, now: number): number | undefined {
  if (value === null || value === undefined) return undefined
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), LONGEST_RETRY_AFTER)
}
