/** Characters of the longest token that is taken: more would not fit beside the other headers of a call. */
export const LONGEST_TOKEN = 12 * 1024
/** b64token of RFC 6750 §2.1, as a JSON Schema has it. */
export const BEARER_PATTERN = '^[A-Za-z0-9\\-._~+/]+=*$'
export const BEARER_EXPECTED = `expected a bearer token (RFC 6750): 1 to ${LONGEST_TOKEN} characters of A-Z a-z 0-9 - . _ ~ + / =`
/** VSCHAR of RFC 6749 appendix A.17. */
export const PRINTABLE_PATTERN = '^[\\x20-\\x7e]+$'

const BEARER = new RegExp(BEARER_PATTERN)
const PRINTABLE = new RegExp(PRINTABLE_PATTERN)

export function isBearerToken (text: unknown): text is string {
  return typeof text === 'string' && text.length <= LONGEST_TOKEN && BEARER.test(text)
}

export function isRefreshToken (text: unknown): text is string {
  return typeof text === 'string' && text.length <= LONGEST_TOKEN && PRINTABLE.test(text)
}

/** Why a text cannot be a bearer token, in words that go behind the place where it is; it is never shown itself. */
export function bearerComplaint (text: string): string | undefined {
  if (isBearerToken(text)) return undefined
  const hint = /^bearer /i.test(text) ? '; the word Bearer is added by itself: leave it out' : /^["'].*["']$/.test(text) ? '; leave the quotes out' : ''
  return `holds something else: ${BEARER_EXPECTED}${hint}`
}

export function refreshComplaint (text: string): string | undefined {
  return isRefreshToken(text) ? undefined : `holds something else: expected a refresh token (RFC 6749): 1 to ${LONGEST_TOKEN} printable ASCII characters`
}

/** Whether a token is a JWT whose `exp` has passed: a look at what it says of itself, and no verification. @param now milliseconds since the epoch */
export function isExpiredJwt (token: string, now: number): boolean {
  const [, claims, signature] = token.split('.')
  if (claims === undefined || signature === undefined) return false
  try {
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { exp?: unknown }
    return typeof exp === 'number' && exp * 1000 <= now
  } catch {
    return false
  }
}
