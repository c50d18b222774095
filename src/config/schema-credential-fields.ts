import { Type } from 'typebox'
import { KEY_PAIR_ALGORITHMS, SIGNING_ALGORITHMS } from './config.js'
import { duration, record, secret, text } from './schema-parts.js'

export const CREDENTIAL_TYPES = ['api_token', 'refresh_token', 'client_credentials', 'json_refresh', 'token_exchange', 'jwt_bearer', 'signed_jwt', 'command', 'custom'] as const
export type CredentialType = typeof CREDENTIAL_TYPES[number]

const refreshToken = secret('The first refresh token. A newer one that the issuer hands out is kept in the state. Without it somebody must log in first.')
const accessToken = secret('A first access token, optional: without it the first call waits for a refresh.')

/** A JWT that is made here. */
const minted = {
  key: secret('The private key, PEM or JWK; for HS256, HS384 and HS512 the shared secret.'),
  key_id: text('headerText', 'The key\'s id (kid) in the JWT\'s header. Default: that of the JWK.'),
  alg: algorithm(SIGNING_ALGORITHMS, 'What the key signs with; signed_jwt must name it.'),
  typ: text('headerText', 'The JWT\'s typ header.', { default: 'JWT', examples: ['at+jwt'] }),
  claims: Type.Unsafe<Record<string, unknown>>({
    type: 'object',
    additionalProperties: { $ref: '#/definitions/json' },
    description: 'The JWT\'s claims (RFC 7519 §4). iat, exp and jti are set for each JWT.',
    examples: [{ iss: 'mcp-valet', sub: 'alice', aud: 'https://mcp.example' }],
    errorMessage: 'expected a map of claims, such as { iss: mcp-valet, sub: alice }',
  }),
}

const oauthClient = {
  token_endpoint: text('httpUrl', 'The authorization server\'s token endpoint (RFC 6749 §3.2). This or issuer.', { examples: ['https://id.example/token'] }),
  issuer: text('issuer', 'The authorization server\'s issuer identifier; its metadata is discovered (RFC 8414). This or token_endpoint.', { examples: ['https://id.example'] }),
  client_id: text('headerText', 'The client that the token is issued to.'),
  client_secret: secret('The client\'s secret; without it and without a client_key the client is a public one.'),
  client_auth: Type.Unsafe<string>({
    enum: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    description: 'How the client authenticates (RFC 6749 §2.3, RFC 7523 §2.2). Default: private_key_jwt with a client_key, client_secret_basic with a client_secret, else none.',
  }),
  client_key: secret('The client\'s private key, PEM or JWK, for client_auth private_key_jwt.'),
  client_key_id: text('headerText', 'The key\'s id (kid) at the issuer. Default: that of the JWK.'),
  client_key_alg: algorithm(KEY_PAIR_ALGORITHMS, 'What the client_key signs with.'),
  scope: text('scope', 'Scopes to ask for, with spaces between them.', { examples: ['tools:read tools:call'] }),
  resource: text('resource', 'Resource indicator (RFC 8707), or none for issuers that refuse one. Default: the upstream\'s url.'),
}

const audience = text('headerText', 'The name of the service that the token is for, as the issuer knows it. With it, resource is sent only where it is given here.')

/** What a credential of each type may say, beside its type. */
export const FIELDS: Record<CredentialType, Record<string, object>> = {
  api_token: { token: secret('The token. It is never refreshed; a rotated file is picked up when the upstream refuses the old one.') },
  refresh_token: { ...oauthClient, refresh_token: refreshToken, access_token: accessToken },
  client_credentials: { ...oauthClient, audience },
  token_exchange: {
    ...oauthClient,
    subject_token: secret('The token that is exchanged. Default: the JWT that the caller presents (callers.jwt).'),
    subject_token_type: tokenType('What the subject_token is.', { default: 'access_token' }),
    requested_token_type: tokenType('What is asked for. Default: the issuer chooses, which is an access token as a rule.'),
    audience,
    actor_token: secret('The token of whoever acts for the subject.'),
    actor_token_type: tokenType('What the actor_token is.', { default: 'access_token' }),
  },
  jwt_bearer: {
    ...oauthClient,
    assertion: secret('A JWT that somebody else makes and replaces, such as a projected service account token. This or key.'),
    ...minted,
    lifetime: duration('How long each assertion is good, at least 5s.', '1m', 'lifetime'),
  },
  signed_jwt: { ...minted, lifetime: duration('How long each token is good, at least 5s. It is renewed ahead of that.', '10m', 'lifetime') },
  command: {
    command: Type.Array(Type.String({ reads: 'file' }), {
      minItems: 1,
      description: 'Program and arguments, run without a shell for at most 10 s. It prints the token, or { "access_token": .., "expires_in": seconds }.',
      examples: [['/usr/local/bin/mcp-token', '--json']],
      errorMessage: 'expected a program and its arguments, such as [/usr/local/bin/mcp-token, --json]',
    }),
  },
  custom: {
    name: text('headerText', 'The name under which whoever embeds mcp-valet hands the code for it in (createSidecar, credentialTypes).', { examples: ['secrets_manager'] }),
    options: {
      $ref: '#/definitions/json',
      description: 'Any JSON, for that code. { env: NAME }, { file: PATH } and { command: [..] } are replaced by the secret.',
      examples: [{ path: 'mcp/alice', token: { env: 'SECRETS_MANAGER_TOKEN' } }],
    },
  },
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

function pointer (what: string, fallback: string) {
  return text('pointer', `Where in the answer ${what} is.`, { default: fallback })
}

function algorithm (known: readonly string[], description: string) {
  return Type.Unsafe<string>({ enum: known, description: `${description} Without it: what the JWK says, else RS256, ES256, ES384, ES512 or EdDSA, as the key is.` })
}

function tokenType (description: string, extra: Record<string, unknown> = {}) {
  return text('tokenType', `${description} One of access_token, refresh_token, id_token, saml1, saml2, jwt, or a URI (RFC 8693 §3).`, extra)
}
