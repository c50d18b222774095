/** What an upstream's answer says about the credential it was sent. */
export type Refusal =
  /** the token is not accepted: another one may be */
  | 'stale'
  /** refused, and it does not say why: perhaps the token, perhaps the permission */
  | 'denied'
  /** the same, in an answer with status 200 */
  | 'hidden'

/** The `error` values of a bearer challenge (RFC 6750 §3.1); anything else is not repeated in a log. */
const REGISTERED = new Set(['invalid_request', 'invalid_token', 'insufficient_scope'])

/** The `error` parameter of `WWW-Authenticate: Bearer …`, where it is a registered one. */
export function challengeError (challenge: string | string[] | undefined): string | undefined {
  if (challenge === undefined) return undefined
  for (const match of String(challenge).slice(0, 4096).matchAll(/\berror\s*=\s*"?([a-z_]+)/gi)) {
    const error = (match[1] as string).toLowerCase()
    if (REGISTERED.has(error)) return error
  }
  return undefined
}

/**
 * Whether an answer refuses the credential. A token that lacks a permission lacks it after a refresh too, so
 * `insufficient_scope` is an answer like any other.
 * @param refreshOn the statuses that the config has refreshed for
 */
export function refusalOf (status: number, error: string | undefined, refreshOn: ReadonlySet<number>): 'stale' | 'denied' | undefined {
  if (!refreshOn.has(status) || error === 'insufficient_scope') return undefined
  if (status === 401 || error === 'invalid_token') return 'stale'
  return 'denied'
}
