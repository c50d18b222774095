import { decodeJwt } from 'jose'
import type { Credential } from './credential.js'

/** Refresh ahead, in the background, from here before expiry. */
const AHEAD = { share: 0.25, atMost: 5 * 60_000 }
/** Callers wait for a renewal from here before expiry. */
const MUST = { share: 0.1, atMost: 60_000 }
/** From here on it may die on the way, so it counts as dead. */
const DEAD = { share: 0.05, atMost: 1_000 }
/** Seconds; an `expires_in` above it, three centuries off, is a mistake, and no number that a date could hold. */
const LONGEST_LIFETIME = 1e10
/** Background renewals are never closer together than this, however short the tokens live. */
const SHORTEST_CYCLE = 1_000

export type Phase = 'valid' | 'expiring' | 'urgent' | 'dead'

function margin (credential: Credential, window: { share: number, atMost: number }): number {
  const lifetime = (credential.expiresAt as number) - credential.obtainedAt
  return Math.min(window.atMost, Math.max(0, lifetime) * window.share)
}

/** `expiring`: renewed in the background; `urgent`: callers wait for that; `dead`: not sent at all. */
export function phaseOf (credential: Credential, now: number): Phase {
  if (credential.expiresAt === undefined) return 'valid'
  const left = credential.expiresAt - now
  if (left <= margin(credential, DEAD)) return 'dead'
  if (left <= margin(credential, MUST)) return 'urgent'
  if (left <= margin(credential, AHEAD)) return 'expiring'
  return 'valid'
}

/** Milliseconds from `now` until it is not sent any more; Infinity where no expiry is known. */
export function untilDead (credential: Credential, now: number): number {
  return credential.expiresAt === undefined ? Infinity : Math.max(0, credential.expiresAt - margin(credential, DEAD) - now)
}

/**
 * Milliseconds from `now` until the background renewal, undefined where no expiry is known.
 * @param random 0 ≤ x < 1: up to a fifth of the window is taken off, so that a thousand principals that logged in
 *   together do not refresh together
 */
export function untilRefresh (credential: Credential, now: number, random: number): number | undefined {
  if (credential.expiresAt === undefined) return undefined
  const window = margin(credential, AHEAD) * (1 - 0.2 * random)
  return Math.max(SHORTEST_CYCLE, credential.expiresAt - window - now)
}

/**
 * When a token expires that an issuer has just handed out, in milliseconds since the epoch.
 *
 * Both sources are taken as durations counted from when the request was sent: `expires_in` (RFC 6749 §5.1) is one, and
 * `exp - iat` (RFC 7519 §4.1) is one too, so that a clock here that is an hour off neither kills a fresh token nor
 * keeps a dead one. The shorter one counts. An `iat` has lost its fraction of a second; where the two clocks agree on the
 * second, that fraction is known, and the token dies by so much sooner: servers judge it by its `exp`.
 * @param lifetime seconds, as the issuer said; what is no such number counts as unsaid, 0 included, since that is how
 *   some issuers say that they do not know
 */
export function expiryOfIssued (token: string, lifetime: number | undefined, requestedAt: number): number | undefined {
  const { exp, iat } = jwtTimes(token)
  const expiresIn = lifetime !== undefined && lifetime > 0 && lifetime < LONGEST_LIFETIME ? lifetime : undefined
  const said = expiresIn === undefined ? [] : [requestedAt + expiresIn * 1000]
  if (exp !== undefined && iat !== undefined && exp > iat) said.push(requestedAt + (exp - iat) * 1000 - lostFraction(iat, requestedAt))
  else if (exp !== undefined && expiresIn === undefined) said.push(exp * 1000)
  return said.length === 0 ? undefined : Math.min(...said)
}

/** Milliseconds, below a second. */
function lostFraction (iat: number, requestedAt: number): number {
  const gone = requestedAt - iat * 1000
  return gone > 0 && gone < 1000 ? gone : 0
}

/** When a token that was simply found somewhere expires: nobody knows how long it has lived, so `exp` itself counts. */
export function expiryOfFound (token: string): number | undefined {
  const { exp } = jwtTimes(token)
  return exp === undefined ? undefined : exp * 1000
}

function jwtTimes (token: string): { exp?: number | undefined, iat?: number | undefined } {
  // Most opaque tokens have no dot; asking the decoder would cost an exception each.
  if (!token.includes('.')) return {}
  try {
    const { exp, iat } = decodeJwt(token)
    return { exp: finite(exp), iat: finite(iat) }
  } catch {
    return {}
  }
}

function finite (value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value < 1e11 ? value : undefined
}
