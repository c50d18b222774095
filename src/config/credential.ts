import type { Finding, Path } from './problem.js'
import { at, isMap, type RawMap } from './raw.js'
import { CREDENTIAL_TYPES, credentialKeys, type CredentialType } from './schema-credential.js'
import { unknownKey } from './sentences.js'

/** Two ways to name one thing: whichever the principal writes replaces whichever the upstream's defaults have. */
const EITHER = ['token_endpoint', 'issuer']

/**
 * A principal's credential over the upstream's defaults: shallow, only keys that the type knows, and none at all when
 * the defaults are for another type.
 */
export function mergeCredential (defaults: unknown, own: RawMap): RawMap {
  if (!isMap(defaults)) return own
  const type = at(own, 'type') ?? at(defaults, 'type')
  if (at(defaults, 'type') !== undefined && at(defaults, 'type') !== type) return own
  const known = isCredentialType(type) ? ['type', ...credentialKeys(type)] : Object.keys(defaults)
  const replaced = EITHER.some((key) => Object.hasOwn(own, key)) ? EITHER : []
  const kept = Object.entries(defaults).filter(([key]) => known.includes(key) && !replaced.includes(key))
  return Object.fromEntries([...kept, ...Object.entries(own)])
}

/**
 * What is missing from a principal's credential, or contradicts itself, after the defaults were merged in.
 * @param path the principal's credential, where all of it is reported
 */
export function credentialFindings (defaults: unknown, own: RawMap, path: Path): Finding[] {
  const merged = mergeCredential(defaults, own)
  const type = at(merged, 'type')
  if (type === undefined) return [{ path: [...path, 'type'], message: `is required, here or in the credential of the upstream: one of ${CREDENTIAL_TYPES.join(', ')}` }]
  if (!isCredentialType(type)) return []
  const found = (key: string, message: string): Finding => ({ path: [...path, key], message })
  const has = (key: string) => at(merged, key) !== undefined
  return [
    ...Object.hasOwn(own, 'type') ? [] : strangeKeys(type, own, path),
    ...REQUIRED[type].filter((key) => !has(key)).map((key) => found(key, `is required by a credential of type ${type}`)),
    ...isOAuth(type) ? oauthFindings(merged, has, found) : [],
  ]
}

function isCredentialType (type: unknown): type is CredentialType {
  return CREDENTIAL_TYPES.some((known) => known === type)
}

const REQUIRED: Record<CredentialType, readonly string[]> = {
  api_token: ['token'],
  refresh_token: ['client_id', 'refresh_token'],
  client_credentials: ['client_id', 'client_secret'],
  json_refresh: ['url'],
}

function isOAuth (type: CredentialType): boolean {
  return type === 'refresh_token' || type === 'client_credentials'
}

function oauthFindings (merged: RawMap, has: (key: string) => boolean, found: (key: string, message: string) => Finding): Finding[] {
  const auth = at(merged, 'client_auth')
  const findings: Finding[] = []
  if (!has('token_endpoint') && !has('issuer')) findings.push(found('token_endpoint', 'is required, or issuer in its place'))
  if (has('token_endpoint') && has('issuer')) findings.push(found('issuer', 'give either token_endpoint or issuer, not both'))
  if (auth === 'none' && has('client_secret')) findings.push(found('client_auth', 'is none although there is a client_secret: leave one of them out'))
  if (String(auth).startsWith('client_secret_') && !has('client_secret')) findings.push(found('client_secret', 'is required by client_auth'))
  return findings
}

/** Keys of another type. Where the principal names the type itself, the schema has reported them. */
function strangeKeys (type: CredentialType, own: RawMap, path: Path): Finding[] {
  const known = credentialKeys(type)
  return Object.keys(own).filter((key) => !known.includes(key)).map((key) => {
    const { below, message, hidden = false } = unknownKey(key, known, ` for a credential of type ${type}`)
    return { path: [...path, ...below], message, hidden }
  })
}
