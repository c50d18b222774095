import type { IncomingHttpHeaders } from 'node:http'
import type { ErrorCode } from '../errors.js'
import type { Caller } from '../exchange.js'

/** What a caller showed: who it is, that it brought an upstream token of its own, that it brought nothing, or a refusal. */
export type Identity =
  | { readonly kind: 'caller', readonly caller: Caller }
  | { readonly kind: 'own_token' }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'refused', readonly code: ErrorCode }

/** Where session keys are looked up. */
export interface KeyRing {
  /** Who holds a key, as far as it is known here. */
  find (key: string, connection?: object): Caller | ErrorCode
  /** Who holds a key that is not known here, where there is somewhere else to look. Never rejects. */
  readonly seek?: ((key: string, connection?: object) => Promise<Caller | ErrorCode>) | undefined
}

/** What can be told only after a look into the state, say. The promise never rejects. */
export interface PendingIdentity { readonly kind: 'pending', readonly identity: Promise<Identity> }

const NOBODY: Identity = { kind: 'nobody' }
const STRAY: Identity = { kind: 'refused', code: 'ERR_SESSION_UNKNOWN' }
const OWN_TOKEN: Identity = { kind: 'own_token' }
/** The scheme is matched without case (RFC 9110 §11.1). */
const BEARER_KEY = /^bearer +(vk_\S*)\s*$/i
/** A session key in a place where it is not looked for: it must not pass for an upstream's token and be sent there. */
const STRAY_KEY = /vk_[\w-]{43}/i

/**
 * @param keyHeader the name in lower case of the header that carries a session key; `Authorization: Bearer vk_…` is
 *   understood beside it
 * @param connection that the call came by
 */
export function identify (headers: IncomingHttpHeaders, keyHeader: string, keys: KeyRing, connection?: object): Identity | PendingIdentity {
  const key = headers[keyHeader] ?? bearerKey(headers.authorization)
  if (key === undefined) {
    const own = [headers.authorization, headers['x-api-key']].filter((value) => value !== undefined)
    if (own.some((value) => STRAY_KEY.test(String(value)))) return STRAY
    return own.length > 0 ? OWN_TOKEN : NOBODY
  }
  const found = keys.find(String(key), connection)
  if (found !== 'ERR_SESSION_UNKNOWN' || keys.seek === undefined) return identityOf(found)
  return { kind: 'pending', identity: keys.seek(String(key), connection).then(identityOf) }
}

function identityOf (found: Caller | ErrorCode): Identity {
  return typeof found === 'string' ? { kind: 'refused', code: found } : { kind: 'caller', caller: found }
}

function bearerKey (authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER_KEY.exec(authorization)?.[1]
}
