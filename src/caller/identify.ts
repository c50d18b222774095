import type { IncomingHttpHeaders } from 'node:http'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'
import { bearerJwt, looksLikeJwt } from './jwt-shape.js'
import type { JwtCallers } from './jwt.js'

/** What a caller showed: who it is, that it brought an upstream token of its own, that it brought nothing, or a refusal. */
export type Identity =
  | { readonly kind: 'caller', readonly caller: Caller }
  | { readonly kind: 'own_token' }
  | { readonly kind: 'nobody' }
  | Refused

export interface Refused {
  readonly kind: 'refused'
  readonly code: ErrorCode
  /** For the log, where the code does not say it all: made of known words. */
  readonly reason?: string
  /** Seconds after which it is worth another try. */
  readonly retryAfter?: number
  /** Whose session it was, for the log: it may do nothing any more. */
  readonly lapsed?: Caller | undefined
}

/** Where session keys are looked up. */
export interface KeyRing {
  /** Who holds a key, as far as it is known here. */
  find (key: string, connection?: object): Caller | ErrorCode
  /** Who holds a key that is not known here, where there is somewhere else to look. Never rejects. */
  readonly seek?: ((key: string, connection?: object) => Promise<Caller | ErrorCode>) | undefined
  /** Whose a key is that ERR_SESSION_EXPIRED was said of. */
  readonly lapsed?: ((key: string) => Caller | undefined) | undefined
  /** Who holds the session of a caller that was found before; undefined where it has been closed. */
  current (caller: Caller): Caller | undefined
}

/** What can be told only after a look into the state, say. The promise never rejects. */
export interface PendingIdentity { readonly kind: 'pending', readonly identity: Promise<Identity> }

const NOBODY: Identity = { kind: 'nobody' }
const STRAY: Identity = { kind: 'refused', code: 'ERR_SESSION_UNKNOWN', reason: 'a session key or JWT stands where none is looked for' }
const OWN_TOKEN: Identity = { kind: 'own_token' }
/** The scheme is matched without case (RFC 9110 §11.1). */
const BEARER_KEY = /^bearer +(vk_\S*)\s*$/i
/** A session key in a place where it is not looked for: it must not pass for an upstream's token and be sent there; nor must a JWT. */
const STRAY_KEY = /vk_[\w-]{43}/i

/** What an identity is found by, beside a request's headers. */
export interface Register {
  /** The name in lower case of the header that carries a session key; `Authorization: Bearer …` is understood beside it. */
  readonly keyHeader: string
  readonly keys: KeyRing
  /** Undefined where `callers.jwt` is not set. */
  readonly jwts: JwtCallers | undefined
  /** Whether a caller may keep a token of its own: then a JWT of another issuer is one. */
  readonly relay: boolean
}

/** @param connection that the call came by */
export function identify (headers: IncomingHttpHeaders, register: Register, connection?: object): Identity | PendingIdentity {
  const { keyHeader, keys, jwts, relay } = register
  const { [keyHeader]: shown, authorization } = headers
  const key = shown ?? bearerKey(authorization)
  if (key !== undefined) {
    if (jwts !== undefined && looksLikeJwt(String(key))) return jwts.find(String(key), connection)
    const found = keys.find(String(key), connection)
    if (found !== 'ERR_SESSION_UNKNOWN' || keys.seek === undefined) return identityOf(found, key, keys)
    return { kind: 'pending', identity: keys.seek(String(key), connection).then((sought) => identityOf(sought, key, keys)) }
  }
  const token = jwts === undefined ? undefined : bearerJwt(authorization)
  if (token !== undefined && (!relay || jwts?.claims(token) === true)) return (jwts as JwtCallers).find(token, connection)
  const own = [authorization, headers['x-api-key']].filter((value) => value !== undefined).map(String)
  if (own.some((value) => STRAY_KEY.test(value) || jwts?.isIn(value) === true)) return STRAY
  return own.length > 0 ? OWN_TOKEN : NOBODY
}

function identityOf (found: Caller | ErrorCode, key: string | string[], keys: KeyRing): Identity {
  if (typeof found !== 'string') return { kind: 'caller', caller: found }
  return found === 'ERR_SESSION_EXPIRED' ? { kind: 'refused', code: found, lapsed: keys.lapsed?.(String(key)) } : { kind: 'refused', code: found }
}

function bearerKey (authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER_KEY.exec(authorization)?.[1]
}
