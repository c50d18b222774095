import { decodeProtectedHeader, errors, jwtVerify, type JWTPayload, type JWTVerifyOptions, type RemoteJWKSet } from 'jose'
import type { Clock } from '../clock.js'
import type { JwtCallersConfig } from '../config/jwt-config.js'
import { claimedBy, JwtRefused, type Claimed } from './jwt-claims.js'
import type { IssuerKeys } from './jwt-keys.js'
import { unverifiedIssuer } from './jwt-shape.js'

/** Characters; as much as a token may have anywhere here. */
const LONGEST = 12 * 1024
/** Keys that a token without a `kid` is tried with: an issuer has two while it rotates, and each costs a signature check. */
const MOST_KEYS = 4
/**
 * What access tokens call themselves (RFC 9068 §2.1), beside what most issuers write. Other kinds of JWT, logout tokens
 * or DPoP proofs say, are signed by the same keys and must not pass for one (RFC 8725 §3.11).
 */
const TYPES = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])

/** @throws {JwtRefused | IssuerUnavailable} */
export type Verifier = (token: string) => Promise<Claimed>

/** Checks a caller's JWT: form, type, algorithm, signature, issuer, audience, times, and the names that it holds. */
export function verifier (config: JwtCallersConfig, keys: IssuerKeys, clock: Clock): Verifier {
  return async (token) => {
    const { kid } = checkHead(token, config)
    const options: JWTVerifyOptions = {
      issuer: config.issuer,
      audience: [...config.audience],
      algorithms: [...config.algorithms],
      requiredClaims: ['exp'],
      clockTolerance: config.clockToleranceMs / 1000,
      currentDate: new Date(clock.now()),
    }
    const set = await keys.current()
    try {
      return claimedBy(await verify(token, set, options), config)
    } catch (error) {
      const newer = mayBeANewKey(error, kid) ? await keys.newerThan(set) : undefined
      if (newer === undefined) throw refusal(error)
      return claimedBy(await verify(token, newer, options).catch((again: unknown) => { throw refusal(again) }), config)
    }
  }
}

/** What is wrong with a token at first sight costs neither a signature check nor its issuer a request. */
function checkHead (token: string, config: JwtCallersConfig): { kid?: string | undefined } {
  if (token.length > LONGEST) throw new JwtRefused(`it is longer than ${LONGEST} characters`)
  const header = headerOf(token)
  if (!config.algorithms.some((alg) => alg === header.alg)) throw new JwtRefused('its alg is not one of callers.jwt.algorithms')
  if (header.typ !== undefined && !(typeof header.typ === 'string' && TYPES.has(header.typ.toLowerCase()))) throw new JwtRefused('its typ is neither JWT nor at+jwt')
  if (unverifiedIssuer(token) !== config.issuer) throw new JwtRefused('it is not of the issuer that callers.jwt names')
  return header
}

function headerOf (token: string): { alg?: unknown, typ?: unknown, kid?: string | undefined } {
  try {
    return decodeProtectedHeader(token)
  } catch {
    throw new JwtRefused('it is no JWT')
  }
}

async function verify (token: string, set: RemoteJWKSet, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, set, options)).payload
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    return await verifyWithAny(token, error, options)
  }
}

async function verifyWithAny (token: string, candidates: errors.JWKSMultipleMatchingKeys, options: JWTVerifyOptions): Promise<JWTPayload> {
  let failure: unknown = candidates
  let tried = 0
  for await (const key of candidates) {
    if (++tried > MOST_KEYS) break
    try {
      return (await jwtVerify(token, key, options)).payload
    } catch (error) {
      failure = error
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) break
    }
  }
  throw failure
}

/** A key that is not known may be a new one; so may that of a bad signature where nothing says which key it was made with. */
function mayBeANewKey (error: unknown, kid: unknown): boolean {
  return error instanceof errors.JWKSNoMatchingKey || (error instanceof errors.JWSSignatureVerificationFailed && kid === undefined)
}

function refusal (error: unknown): JwtRefused {
  if (error instanceof JwtRefused) return error
  if (error instanceof errors.JWTExpired) return new JwtRefused('it has expired (exp)', 'ERR_SESSION_EXPIRED')
  if (error instanceof errors.JWTClaimValidationFailed) return new JwtRefused(CLAIMS[error.claim] ?? 'a claim of it is not what RFC 7519 asks for')
  return new JwtRefused(REASONS[error instanceof errors.JOSEError ? error.code : ''] ?? 'it is no JWT that can be checked, or the issuer\'s key for it is unusable')
}

const CLAIMS: Readonly<Record<string, string>> = {
  aud: 'its aud is not in callers.jwt.audience',
  exp: 'it has no exp, or one that is no number',
  iss: 'it is not of the issuer that callers.jwt names',
  nbf: 'it is not valid yet (nbf): check this machine\'s clock, and the issuer\'s',
}

const REASONS: Readonly<Record<string, string>> = {
  ERR_JWKS_NO_MATCHING_KEY: 'the issuer has no key for its kid and alg',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'its signature is not by a key of the issuer',
  ERR_JOSE_NOT_SUPPORTED: 'its header asks for what is not supported here',
}
