import { credentialContradictions } from './contradictions.js'
import type { Finding, Path } from './problem.js'
import { at, isMap, type RawMap } from './raw.js'
import { CREDENTIAL_TYPES, credentialKeys, type CredentialType } from './schema-credential.js'
import { unknownKey } from './sentences.js'

/** What a key of the principal's own takes out of the upstream's defaults: the other way to name one thing, and what belongs to it. */
const REPLACES: Readonly<Record<string, readonly string[]>> = {
  token_endpoint: ['issuer'],
  issuer: ['token_endpoint'],
  client_secret: ['client_key', 'client_key_id', 'client_key_alg'],
  client_key: ['client_secret', 'client_key_id'],
  assertion: ['key', 'key_id', 'alg', 'typ', 'claims', 'lifetime'],
  key: ['assertion', 'key_id'],
}

/**
 * A principal's credential over the upstream's defaults: shallow, only keys that the type knows, and none at all when
 * the defaults are for another type.
 */
export function mergeCredential (defaults: unknown, own: RawMap): RawMap {
  if (!isMap(defaults)) return own
  const type = at(own, 'type') ?? at(defaults, 'type')
  if (at(defaults, 'type') !== undefined && at(defaults, 'type') !== type) return own
  const known = isCredentialType(type) ? ['type', ...credentialKeys(type)] : Object.keys(defaults)
  const replaced = new Set(Object.keys(own).flatMap((key) => Object.hasOwn(REPLACES, key) ? REPLACES[key] as readonly string[] : []))
  if (authenticatesOtherwise(defaults, own)) replaced.add('client_auth')
  const kept = Object.entries(defaults).filter(([key]) => known.includes(key) && !replaced.has(key))
  return Object.fromEntries([...kept, ...Object.entries(own)])
}

/** Whether the principal has a key where the defaults' client_auth is about a secret, or the other way round. */
function authenticatesOtherwise (defaults: RawMap, own: RawMap): boolean {
  const byKey = at(defaults, 'client_auth') === 'private_key_jwt'
  return Object.hasOwn(own, byKey ? 'client_secret' : 'client_key')
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
  return [
    ...Object.hasOwn(own, 'type') ? [] : strangeKeys(type, own, path),
    ...credentialContradictions(type, merged).map(({ key, message }) => ({ path: [...path, ...key.split('.')], message })),
  ]
}

function isCredentialType (type: unknown): type is CredentialType {
  return CREDENTIAL_TYPES.some((known) => known === type)
}

/** Keys of another type. Where the principal names the type itself, the schema has reported them. */
function strangeKeys (type: CredentialType, own: RawMap, path: Path): Finding[] {
  const known = credentialKeys(type)
  return Object.keys(own).filter((key) => !known.includes(key)).map((key) => {
    const { below, message, hidden = false } = unknownKey(key, known, ` for a credential of type ${type}`)
    return { path: [...path, ...below], message, hidden }
  })
}
