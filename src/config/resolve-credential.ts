import type { CredentialConfig, JsonRefreshConfig, JsonTemplate, OAuthClientConfig } from './config.js'
import { isSecretLeaf } from './json-refresh.js'
import type { RawCredential } from './schema-credential.js'
import { type SecretSource, secretRef } from './secret-ref.js'
import { resourceOf } from './url.js'

/**
 * Fills in the defaults of a credential that was merged and checked.
 * @param url the upstream's, and `written` how the config spells it
 */
export function resolveCredential (raw: RawCredential, url: URL, written: string, env: NodeJS.ProcessEnv): CredentialConfig {
  const required = (from: SecretSource | undefined) => secretRef(from as SecretSource, { env })
  const optional = (from: SecretSource | undefined) => from === undefined ? undefined : secretRef(from, { env })
  switch (raw.type) {
    case 'api_token':
      return { type: 'api_token', token: required(raw.token) }
    case 'json_refresh':
      return resolveJsonRefresh(raw, env)
    case 'client_credentials':
      return { type: 'client_credentials', ...resolveClient(raw, resourceOf(url, written), env) }
    default:
      return {
        type: 'refresh_token',
        ...resolveClient(raw, resourceOf(url, written), env),
        refreshToken: required(raw.refresh_token),
        accessToken: optional(raw.access_token),
      }
  }
}

function resolveClient (raw: RawCredential, resource: string, env: NodeJS.ProcessEnv): OAuthClientConfig {
  return {
    tokenEndpoint: raw.token_endpoint === undefined ? undefined : new URL(raw.token_endpoint),
    issuer: raw.issuer === undefined ? undefined : new URL(raw.issuer),
    clientId: raw.client_id as string,
    clientSecret: raw.client_secret === undefined ? undefined : secretRef(raw.client_secret, { env }),
    clientAuth: raw.client_auth ?? (raw.client_secret === undefined ? 'none' : 'client_secret_basic'),
    scope: raw.scope,
    resource: raw.resource ?? resource,
  }
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
