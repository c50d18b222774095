import { Type } from 'typebox'
import type { JsonRefreshConfig } from './config.js'
import { record, secret, text } from './schema-parts.js'
import type { SecretSource } from './secret-ref.js'

export const CREDENTIAL_TYPES = ['api_token', 'refresh_token', 'client_credentials', 'json_refresh'] as const
export type CredentialType = typeof CREDENTIAL_TYPES[number]

/**
 * A credential as it is written. What must be there is checked after the upstream's defaults were merged in, so here
 * nothing is required.
 */
export interface RawCredential {
  type?: CredentialType
  token?: SecretSource
  token_endpoint?: string
  issuer?: string
  client_id?: string
  client_secret?: SecretSource
  client_auth?: 'none' | 'client_secret_basic' | 'client_secret_post'
  refresh_token?: SecretSource
  access_token?: SecretSource
  scope?: string
  resource?: string
  url?: string
  method?: JsonRefreshConfig['method']
  headers?: Record<string, string | SecretSource>
  body?: unknown
  response?: { access_token?: string, refresh_token?: string, expires_in?: string }
}

const refreshToken = secret('The first refresh token. A newer one that the issuer hands out is kept in the state.')
const accessToken = secret('A first access token, optional: without it the first call waits for a refresh.')

const oauthClient = {
  token_endpoint: text('httpUrl', 'The authorization server\'s token endpoint (RFC 6749 §3.2). This or issuer.', { examples: ['https://id.example/token'] }),
  issuer: text('issuer', 'The authorization server\'s issuer identifier; its metadata is discovered (RFC 8414). This or token_endpoint.', { examples: ['https://id.example'] }),
  client_id: text('headerText', 'The client that the token is issued to.'),
  client_secret: secret('The client\'s secret; without it the client is a public one.'),
  client_auth: Type.Unsafe<string>({
    enum: ['none', 'client_secret_basic', 'client_secret_post'],
    description: 'How the client authenticates (RFC 6749 §2.3). Default: client_secret_basic with a client_secret, none without.',
  }),
  scope: text('scope', 'Scopes to ask for, with spaces between them.', { examples: ['tools:read tools:call'] }),
  resource: text('resource', 'Resource indicator (RFC 8707). Default: the upstream\'s url.'),
}

const FIELDS: Record<CredentialType, Record<string, object>> = {
  api_token: { token: secret('The token. It is never refreshed; a rotated file is picked up when the upstream refuses the old one.') },
  refresh_token: { ...oauthClient, refresh_token: refreshToken, access_token: accessToken },
  client_credentials: oauthClient,
  json_refresh: {
    url: text('httpUrl', 'The endpoint that hands out a new access token.'),
    method: Type.Unsafe<string>({ enum: ['POST', 'PUT', 'PATCH', 'GET'], default: 'POST', description: 'HTTP method.' }),
    headers: record('requestHeader', {
      anyOf: [{ type: 'string' }, { $ref: '#/definitions/secret' }],
      errorMessage: 'expected a text, or { env: NAME }, { file: PATH } or { command: [..] }',
    }, { description: 'Header name → text with {refresh_token} or {access_token} in it, or where a secret is kept.' }),
    body: {
      $ref: '#/definitions/json',
      description: 'Any JSON. In texts {refresh_token} and {access_token} are filled in; { env: NAME }, { file: PATH } and { command: [..] } are replaced by the secret.',
      examples: [{ grant: 'refresh', token: '{refresh_token}' }],
    },
    refresh_token: refreshToken,
    access_token: accessToken,
    response: Type.Object({
      access_token: Type.Optional(pointer('the new access token', '/access_token')),
      refresh_token: Type.Optional(pointer('the new refresh token, if there is one', '/refresh_token')),
      expires_in: Type.Optional(pointer('the lifetime in seconds, if there is one', '/expires_in')),
    }, { additionalProperties: false, description: 'Where in the answer things are, as JSON Pointers (RFC 6901).' }),
  },
}

/** The keys that a credential of this type may have, beside `type`. */
export function credentialKeys (type: CredentialType): string[] {
  return Object.keys(FIELDS[type])
}

/** Any JSON value. */
export const JSON_DEFINITION = {
  type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
  additionalProperties: { $ref: '#/definitions/json' },
  items: { $ref: '#/definitions/json' },
  errorMessage: 'expected a JSON value',
}

/**
 * One branch for each type by if/then, not a union: a mistake then has one message, for the type that was meant, and
 * an editor offers that type's keys.
 */
export const CREDENTIAL_DEFINITION = {
  title: 'Credential',
  description: 'How a principal gets its token for an upstream.',
  type: 'object',
  properties: { type: { enum: CREDENTIAL_TYPES, description: 'Where tokens come from.' } },
  allOf: [
    ...CREDENTIAL_TYPES.map((type) => ({
      if: { type: 'object', properties: { type: { const: type } }, required: ['type'] },
      then: branch(FIELDS[type], `A credential of type ${type}.`),
    })),
    {
      if: { type: 'object', not: { required: ['type'] } },
      then: branch(Object.assign({}, ...Object.values(FIELDS)) as Record<string, object>, 'A credential whose type is the one of the upstream\'s defaults.'),
    },
  ],
}

function branch (fields: Record<string, object>, description: string) {
  return { description, properties: { type: {}, ...fields }, additionalProperties: false }
}

function pointer (what: string, fallback: string) {
  return text('pointer', `Where in the answer ${what} is.`, { default: fallback })
}
