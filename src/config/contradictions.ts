import { at, mapAt, type RawMap, readable, textAt } from './raw.js'
import type { CredentialType } from './schema-credential.js'
import { readTokenType } from './values.js'

/** Something wrong with one key of a credential; `claims.iss` is the key iss below claims. */
interface Contradiction { readonly key: string, readonly message: string }

/** A merged credential of one type, and what may be asked of it. */
interface Merged { readonly raw: RawMap, has (key: string): boolean }

const REQUIRED: Record<CredentialType, readonly string[]> = {
  api_token: ['token'],
  refresh_token: [],
  client_credentials: ['client_id'],
  json_refresh: ['url'],
  token_exchange: [],
  jwt_bearer: [],
  signed_jwt: ['alg', 'key'],
  command: ['command'],
  custom: ['name'],
}

/** Keys that say something about another one. */
const BELONGS_TO: ReadonlyArray<readonly [key: string, to: string]> = [
  ['client_key_id', 'client_key'], ['client_key_alg', 'client_key'], ['actor_token_type', 'actor_token'],
]

/** What a credential of this type is missing, or has beside something that excludes it. */
export function credentialContradictions (type: CredentialType, raw: RawMap): Contradiction[] {
  const merged: Merged = { raw, has: (key) => at(raw, key) !== undefined }
  return [
    ...REQUIRED[type].filter((key) => !merged.has(key)).map((key) => ({ key, message: `is required by a credential of type ${type}` })),
    ...isOAuth(type) ? [...whom(type, merged), ...client(type, merged)] : [],
    ...BELONGS_TO.filter(([key, to]) => merged.has(key) && !merged.has(to)).map(([key, to]) => ({ key, message: `has no meaning without ${to}` })),
    ...type === 'token_exchange' ? tokenExchange(merged) : [],
    ...type === 'jwt_bearer' ? jwtBearer(merged) : [],
  ]
}

function isOAuth (type: CredentialType): boolean {
  return ['refresh_token', 'client_credentials', 'token_exchange', 'jwt_bearer'].includes(type)
}

function whom (type: CredentialType, { has }: Merged): Contradiction[] {
  if (has('token_endpoint') && has('issuer')) return [{ key: 'issuer', message: 'give either token_endpoint or issuer, not both' }]
  if (has('token_endpoint') || has('issuer') || awaitsLogin(type, has)) return []
  return [{ key: 'token_endpoint', message: 'is required, or issuer in its place' }]
}

/** Whoever logs in finds out the issuer; a client's secret or key goes to nobody but those that the config names. */
function awaitsLogin (type: CredentialType, has: Merged['has']): boolean {
  return type === 'refresh_token' && !['refresh_token', 'client_secret', 'client_key'].some(has)
}

function client (type: CredentialType, { raw, has }: Merged): Contradiction[] {
  const auth = at(raw, 'client_auth')
  const found: Contradiction[] = []
  const proof = ['client_secret', 'client_key'].find(has)
  if (type === 'client_credentials' && proof === undefined && auth === undefined) found.push({ key: 'client_secret', message: 'is required by a credential of type client_credentials, or client_key in its place' })
  if (type === 'client_credentials' && proof === undefined && auth === 'none') found.push({ key: 'client_auth', message: 'is none, and client_credentials are for clients that have a secret or a key' })
  if (type === 'refresh_token' && has('refresh_token') && !has('client_id')) found.push({ key: 'client_id', message: 'is required beside refresh_token' })
  else if (type !== 'client_credentials' && proof !== undefined && !has('client_id')) found.push({ key: 'client_id', message: `is required beside ${proof}` })

  if (has('client_secret') && has('client_key')) found.push({ key: 'client_key', message: 'give either client_secret or client_key, not both' })
  else if (auth === 'none' && proof !== undefined) found.push({ key: 'client_auth', message: `is none although there is a ${proof}: leave one of them out` })
  else if (auth === 'private_key_jwt' && has('client_secret')) found.push({ key: 'client_auth', message: 'is private_key_jwt although there is a client_secret: leave one of them out' })
  else if (auth === 'private_key_jwt' && !has('client_key')) found.push({ key: 'client_key', message: 'is required by client_auth' })
  else if (String(auth).startsWith('client_secret_') && has('client_key')) found.push({ key: 'client_auth', message: 'is about a client_secret although there is a client_key: leave one of them out' })
  else if (String(auth).startsWith('client_secret_') && !has('client_secret')) found.push({ key: 'client_secret', message: 'is required by client_auth' })
  return found
}

function tokenExchange ({ raw }: Merged): Contradiction[] {
  const wanted = readable(textAt(raw, 'requested_token_type'), readTokenType)
  return wanted?.endsWith(':refresh_token') === true ? [{ key: 'requested_token_type', message: 'is a refresh token, which is never sent to an upstream' }] : []
}

function jwtBearer ({ raw, has }: Merged): Contradiction[] {
  if (has('assertion')) {
    if (has('key')) return [{ key: 'assertion', message: 'give either assertion or key, not both' }]
    return ['key_id', 'alg', 'typ', 'claims', 'lifetime'].filter(has).map((key) => ({ key, message: 'has no meaning beside assertion, which is there already' }))
  }
  if (!has('key')) return [{ key: 'key', message: 'is required by a credential of type jwt_bearer, or assertion in its place' }]
  if (has('client_id') || at(mapAt(raw, 'claims'), 'iss') !== undefined) return []
  return [{ key: 'claims.iss', message: 'is required (RFC 7523), or client_id in its place' }]
}
