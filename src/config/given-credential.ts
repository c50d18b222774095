import { hash } from 'node:crypto'
import { ControlError, type GivenCredential } from '../control.js'
import { Secret } from '../secret.js'
import type { CredentialConfig, SecretRef } from './config.js'
import { mergeCredential } from './credential.js'
import { formatPath, type Finding } from './problem.js'
import { resolveCredential } from './resolve-credential.js'
import type { RawConfig } from './schema.js'
import { credentialKeys, type CredentialType, type RawCredential } from './schema-credential.js'
import { semanticFindings } from './semantics.js'
import { unknownKey } from './sentences.js'
import { structureFindings } from './validate.js'

/** Completes a credential that is given at run time. @throws {ControlError} ERR_REQUEST_INVALID, with a detail for each mistake */
export type CompleteCredential = (upstream: string, given: GivenCredential) => CredentialConfig

/** Types whose values a product has after its own login. The others are an operator's, who has the config for them. */
export const GIVEN_TYPES = ['api_token', 'refresh_token', 'client_credentials', 'json_refresh']
const SECRETS = ['token', 'refresh_token', 'access_token', 'client_secret'] as const
/** Stands where a value was given; it is never read. */
const PLACE = { env: 'GIVEN' }

/**
 * The rules and the defaults of the config, for credentials that come with values for secrets: those are kept sealed in
 * the state, not in the config.
 */
export function credentialCompleter (raw: RawConfig, env: NodeJS.ProcessEnv): CompleteCredential {
  return (name, given) => {
    const upstream = Object.hasOwn(raw.upstreams, name) ? raw.upstreams[name] : undefined
    if (upstream === undefined) throw new ControlError('ERR_REQUEST_INVALID', [{ path: '', message: `there is no upstream of this name; there are: ${Object.keys(raw.upstreams).join(', ')}` }])
    const { expires_in: _, client_secret_expires_at: __, ...rest } = given
    const own = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, isSecretKey(key) ? PLACE : value])) as RawCredential
    const merged = mergeCredential(upstream.credential, own as Record<string, unknown>) as RawCredential
    const findings = findingsOf(name, upstream, own, merged)
    if (findings.length > 0) throw new ControlError('ERR_REQUEST_INVALID', findings.map(({ path, message }) => ({ path: formatPath(path), message })))
    return withValues(resolveCredential(merged, new URL(upstream.url), upstream.url, env), given)
  }
}

/** As if it stood in a config, whose checks are all there are. */
function findingsOf (name: string, upstream: RawConfig['upstreams'][string], own: RawCredential, merged: RawCredential): Finding[] {
  const config = {
    upstreams: { [name]: { url: upstream.url, ...(upstream.credential === undefined ? {} : { credential: upstream.credential }) } },
    principals: { given: { credentials: { [name]: own } } },
  }
  const found = [...structureFindings(config), ...semanticFindings(config)]
    .filter(({ path }) => path[0] === 'principals')
    .map(({ path, message }) => ({ path: path.slice(4), message }))
  const { type } = merged
  if (type === undefined || found.length > 0) return found
  if (!GIVEN_TYPES.includes(type)) return [{ path: ['type'], message: `a credential of type ${type} needs no value from a login: name it in the config. Here it is one of ${GIVEN_TYPES.join(', ')}` }]
  const known = credentialKeys(type as CredentialType)
  return Object.keys(own).filter((key) => key !== 'type' && !known.includes(key))
    .map((key) => ({ path: [key], message: unknownKey(key, known, ` for a credential of type ${type}`).message }))
}

function isSecretKey (key: string): key is typeof SECRETS[number] {
  return SECRETS.some((secret) => secret === key)
}

const FIELDS = { token: 'token', refresh_token: 'refreshToken', access_token: 'accessToken', client_secret: 'clientSecret' } as const

function withValues (config: CredentialConfig, given: GivenCredential): CredentialConfig {
  const refs = SECRETS.flatMap((key) => given[key] === undefined ? [] : [[FIELDS[key], valueRef(key, given[key])] as const])
  const { client_secret: secret, client_secret_expires_at: ends = 0 } = given
  return { ...config, ...Object.fromEntries(refs), ...(secret === undefined || ends === 0 ? {} : { clientSecretExpiresAt: ends * 1000 }) }
}

function valueRef (key: string, value: string): SecretRef {
  const secret = new Secret(value)
  return { source: `the ${key} that was put for it`, place: hash('sha256', value), read: async () => secret }
}
