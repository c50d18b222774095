import type { CredentialConfig, JsonRefreshConfig, JsonTemplate, MintedJwtConfig, SecretRef, SigningKeyConfig, TokenEndpointConfig } from './config.js'
import { isSecretLeaf } from './json-refresh.js'
import type { RawCredential } from './schema-credential.js'
import { type SecretSource, secretRef } from './secret-ref.js'
import { parseLifetime } from './units.js'
import { NO_RESOURCE, resourceOf } from './url.js'
import { readTokenType } from './values.js'

const ACCESS_TOKEN = 'access_token'

/**
 * Fills in the defaults of a credential that was merged and checked.
 * @param url the upstream's, and `written` how the config spells it
 */
export function resolveCredential (raw: RawCredential, url: URL, written: string, env: NodeJS.ProcessEnv): CredentialConfig {
  const required = (from: SecretSource | undefined) => secretRef(from as SecretSource, { env })
  const optional = (from: SecretSource | undefined) => from === undefined ? undefined : secretRef(from, { env })
  const client = () => resolveClient(raw, resourceOf(url, written), env)
  switch (raw.type) {
    case 'api_token':
      return { type: 'api_token', token: required(raw.token) }
    case 'json_refresh':
      return resolveJsonRefresh(raw, env)
    case 'client_credentials':
      return { type: 'client_credentials', ...client(), audience: raw.audience }
    case 'token_exchange':
      return {
        type: 'token_exchange',
        ...client(),
        subjectToken: optional(raw.subject_token),
        subjectTokenType: readTokenType(raw.subject_token_type ?? ACCESS_TOKEN),
        requestedTokenType: raw.requested_token_type === undefined ? undefined : readTokenType(raw.requested_token_type),
        audience: raw.audience,
        actorToken: optional(raw.actor_token),
        actorTokenType: readTokenType(raw.actor_token_type ?? ACCESS_TOKEN),
      }
    case 'jwt_bearer':
      return { type: 'jwt_bearer', ...client(), assertion: optional(raw.assertion) ?? resolveMinted(raw, '1m', env) }
    case 'signed_jwt':
      return { type: 'signed_jwt', ...resolveMinted(raw, '10m', env) }
    case 'command':
      return { type: 'command', output: secretRef({ command: raw.command as string[] }, { env, multiline: true }) }
    case 'custom':
      return { type: 'custom', name: raw.name as string, options: raw.options === undefined ? undefined : resolveTemplate(raw.options, env) }
    default:
      return { type: 'refresh_token', ...client(), refreshToken: optional(raw.refresh_token), accessToken: optional(raw.access_token) }
  }
}

function resolveClient (raw: RawCredential, resource: string, env: NodeJS.ProcessEnv): TokenEndpointConfig {
  return {
    tokenEndpoint: raw.token_endpoint === undefined ? undefined : new URL(raw.token_endpoint),
    issuer: raw.issuer === undefined ? undefined : new URL(raw.issuer),
    clientId: raw.client_id,
    clientSecret: raw.client_secret === undefined ? undefined : secretRef(raw.client_secret, { env }),
    clientKey: raw.client_key === undefined ? undefined : { key: keyRef(raw.client_key, env), keyId: raw.client_key_id, alg: raw.client_key_alg },
    clientAuth: raw.client_auth ?? (raw.client_key !== undefined ? 'private_key_jwt' : raw.client_secret !== undefined ? 'client_secret_basic' : 'none'),
    scope: raw.scope,
    // A token for an audience and, beside it, for a resource that nobody asked for would be good for too much.
    resource: raw.resource === NO_RESOURCE ? undefined : raw.resource ?? (raw.audience === undefined ? resource : undefined),
  }
}

function resolveMinted (raw: RawCredential, lifetime: string, env: NodeJS.ProcessEnv): MintedJwtConfig {
  const key: SigningKeyConfig = { key: keyRef(raw.key as SecretSource, env), keyId: raw.key_id, alg: raw.alg }
  return { ...key, typ: raw.typ ?? 'JWT', claims: raw.claims ?? {}, lifetimeMs: parseLifetime(raw.lifetime ?? lifetime) }
}

/** PEM has many lines. */
function keyRef (from: SecretSource, env: NodeJS.ProcessEnv): SecretRef {
  return secretRef(from, { env, multiline: true })
}

function resolveJsonRefresh (raw: RawCredential, env: NodeJS.ProcessEnv): JsonRefreshConfig {
  const optional = (from: SecretSource | undefined) => from === undefined ? undefined : secretRef(from, { env })
  return {
    type: 'json_refresh',
    url: new URL(raw.url as string),
    method: raw.method ?? 'POST',
    body: raw.body === undefined ? undefined : resolveTemplate(raw.body, env),
    // In lower case, so that a default such as content-type is replaced and not sent beside it.
    headers: new Map(Object.entries(raw.headers ?? {}).map(([name, value]) => [name.toLowerCase(), typeof value === 'string' ? value : secretRef(value, { env })])),
    refreshToken: optional(raw.refresh_token),
    accessToken: optional(raw.access_token),
    response: {
      accessToken: raw.response?.access_token ?? '/access_token',
      refreshToken: raw.response?.refresh_token ?? '/refresh_token',
      expiresIn: raw.response?.expires_in ?? '/expires_in',
    },
  }
}

function resolveTemplate (value: unknown, env: NodeJS.ProcessEnv): JsonTemplate {
  if (isSecretLeaf(value)) return secretRef(value, { env })
  if (Array.isArray(value)) return value.map((item) => resolveTemplate(item, env))
  if (typeof value !== 'object' || value === null) return value as JsonTemplate
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, resolveTemplate(member, env)]))
}
