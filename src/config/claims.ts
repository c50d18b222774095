import type { Finding, Path } from './problem.js'
import { at, isMap } from './raw.js'

/** Characters of JSON; what a header can carry as a token is 12 KiB, signature and base64 included. */
const LARGEST_CLAIMS = 4 * 1024
const SET_HERE = ['iat', 'exp', 'jti']

/** Checks of the claims of a JWT that is made here (RFC 7519 §4.1); `raw` is one place where a credential is written. */
export function claimsFindings (raw: unknown, path: Path): Finding[] {
  const claims = at(raw, 'claims')
  if (!isMap(claims)) return []
  const found = (name: string, message: string): Finding => ({ path: [...path, 'claims', name], message })
  const has = (name: string): boolean => at(claims, name) !== undefined
  return [
    ...SET_HERE.filter(has).map((name) => found(name, 'is set by mcp-valet for each JWT: how long it is good is said by lifetime')),
    ...['iss', 'sub'].filter((name) => has(name) && !isText(at(claims, name))).map((name) => found(name, 'expected a text')),
    ...has('aud') && !isAudience(at(claims, 'aud')) ? [found('aud', 'expected a text or a list of texts')] : [],
    ...has('nbf') && typeof at(claims, 'nbf') !== 'number' ? [found('nbf', 'expected a number: seconds since 1970')] : [],
    ...JSON.stringify(claims).length > LARGEST_CLAIMS ? [{ path: [...path, 'claims'], message: 'takes more than 4 KiB as JSON: a token must fit into a header' }] : [],
  ]
}

function isText (value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

function isAudience (value: unknown): boolean {
  return isText(value) || (Array.isArray(value) && value.length > 0 && value.every(isText))
}
