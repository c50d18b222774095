import t from 'tap'
import type { CredentialConfig } from '../../../src/config/config.js'
import { mergeCredential } from '../../../src/config/credential.js'
import { complaints, load, yaml } from './helpers.js'

const HERE = 'principals.alice.credentials.tools'
const TYPES = 'api_token, refresh_token, client_credentials, json_refresh, token_exchange, jwt_bearer, signed_jwt, command, custom'
/** Callers whose JWTs there are to exchange. */
const JWTS = 'callers: { jwt: { issuer: "https://i", audience: a } }'
const OAUTH = 'token_endpoint: "https://id.example/token", client_id: agents'

function credential (written: string, upstream = ''): CredentialConfig | undefined {
  return load(yaml({ top: JWTS, credential: written, upstream })).principals.get('alice')?.credentials.get('tools')
}

t.test('api_token', async (t) => {
  t.match(credential('{ type: api_token, token: { file: /t } }'), { type: 'api_token', token: { source: 'file /t' } })
})

t.test('refresh_token', async (t) => {
  t.match(credential(`{ type: refresh_token, ${OAUTH}, refresh_token: { env: R } }`), {
    type: 'refresh_token',
    tokenEndpoint: new URL('https://id.example/token'),
    issuer: undefined,
    clientId: 'agents',
    clientSecret: undefined,
    clientAuth: 'none',
    scope: undefined,
    resource: 'http://localhost:8001/mcp',
    refreshToken: { source: 'env R' },
    accessToken: undefined,
  })
  t.match(credential('{ type: refresh_token, issuer: "https://id.example", client_id: c, client_secret: { env: S }, client_auth: client_secret_post, ' +
    'refresh_token: { env: R }, access_token: { env: A }, scope: "a b", resource: "https://r" }'), {
    issuer: new URL('https://id.example'),
    tokenEndpoint: undefined,
    clientSecret: { source: 'env S' },
    clientAuth: 'client_secret_post',
    accessToken: { source: 'env A' },
    scope: 'a b',
    resource: 'https://r',
  })
})

t.test('resource: none sends none, for each type that has one, over the default and over what the upstream says', async (t) => {
  for (const type of ['refresh_token', 'client_credentials, client_secret: { env: S }', 'token_exchange', 'jwt_bearer, assertion: { env: A }']) {
    t.hasStrict(credential(`{ type: ${type}, ${OAUTH}, resource: none }`), { resource: undefined }, type)
  }
  t.hasStrict(credential(`{ type: token_exchange, ${OAUTH}, audience: tools, resource: none }`), { resource: undefined })
  const over = (own: string): unknown => load(`upstreams: { tools: { url: "https://h/mcp", credential: { type: refresh_token, ${OAUTH}, resource: none } } }\nprincipals: { a: { credentials: { tools: { ${own} } } } }`)
    .principals.get('a')?.credentials.get('tools')
  t.match(over(''), { resource: undefined })
  t.match(over('resource: "https://r"'), { resource: 'https://r' })
})

t.test('client_credentials', async (t) => {
  t.match(credential(`{ type: client_credentials, ${OAUTH}, client_secret: { env: S } }`), { type: 'client_credentials', clientAuth: 'client_secret_basic', audience: undefined })
  t.hasStrict(credential(`{ type: client_credentials, ${OAUTH}, client_secret: { env: S }, audience: tools }`), { audience: 'tools', resource: undefined })
  t.match(credential(`{ type: client_credentials, ${OAUTH}, client_secret: { env: S }, audience: tools, resource: "https://r" }`), { audience: 'tools', resource: 'https://r' })
})

t.test('refresh_token, before anybody has logged in', async (t) => {
  t.match(credential('{ type: refresh_token }'), { clientId: undefined, issuer: undefined, tokenEndpoint: undefined, refreshToken: undefined, accessToken: undefined })
  t.match(credential('{ type: refresh_token, client_id: c }'), { clientId: 'c', refreshToken: undefined })
  t.match(credential('{ type: refresh_token, issuer: "https://i", access_token: { env: A } }'), { accessToken: { source: 'env A' } })
})

t.test('private_key_jwt', async (t) => {
  t.match(credential(`{ type: client_credentials, ${OAUTH}, client_key: { file: /k } }`), {
    clientAuth: 'private_key_jwt', clientSecret: undefined, clientKey: { key: { source: 'file /k' }, keyId: undefined, alg: undefined },
  })
  t.match(credential(`{ type: refresh_token, ${OAUTH}, refresh_token: { env: R }, client_auth: private_key_jwt, client_key: { env: K }, client_key_id: k1, client_key_alg: PS384 }`), {
    clientAuth: 'private_key_jwt', clientKey: { key: { source: 'env K' }, keyId: 'k1', alg: 'PS384' },
  })
})

t.test('token_exchange', async (t) => {
  t.match(credential('{ type: token_exchange, issuer: "https://i" }'), {
    type: 'token_exchange',
    clientId: undefined,
    clientAuth: 'none',
    subjectToken: undefined,
    subjectTokenType: 'urn:ietf:params:oauth:token-type:access_token',
    requestedTokenType: undefined,
    audience: undefined,
    resource: 'http://localhost:8001/mcp',
    actorToken: undefined,
  })
  t.match(credential(`{ type: token_exchange, ${OAUTH}, subject_token: { file: /s }, subject_token_type: jwt, requested_token_type: "urn:x:y", audience: tools, actor_token: { env: A }, actor_token_type: id_token }`), {
    subjectToken: { source: 'file /s' },
    subjectTokenType: 'urn:ietf:params:oauth:token-type:jwt',
    requestedTokenType: 'urn:x:y',
    audience: 'tools',
    resource: undefined,
    actorToken: { source: 'env A' },
    actorTokenType: 'urn:ietf:params:oauth:token-type:id_token',
  })
  t.match(credential('{ type: token_exchange, issuer: "https://i", audience: tools, resource: "https://r" }'), { resource: 'https://r' }, 'both, where both are asked for')
})

t.test('jwt_bearer', async (t) => {
  t.match(credential('{ type: jwt_bearer, issuer: "https://i", assertion: { file: /a } }'), { type: 'jwt_bearer', clientId: undefined, assertion: { source: 'file /a' } })
  t.match(credential(`{ type: jwt_bearer, ${OAUTH}, key: { env: K } }`), {
    clientAuth: 'none', assertion: { key: { source: 'env K' }, keyId: undefined, alg: undefined, typ: 'JWT', claims: {}, lifetimeMs: 60_000 },
  })
  t.match(credential('{ type: jwt_bearer, issuer: "https://i", key: { env: K }, key_id: k, alg: RS512, typ: a+jwt, lifetime: 5m, claims: { iss: i, sub: s, aud: [a, b], deep: { x: [1, null, true] } } }'), {
    assertion: { keyId: 'k', alg: 'RS512', typ: 'a+jwt', claims: { iss: 'i', sub: 's', aud: ['a', 'b'], deep: { x: [1, null, true] } }, lifetimeMs: 300_000 },
  })
})

t.test('signed_jwt', async (t) => {
  t.match(credential('{ type: signed_jwt, alg: HS256, key: { env: K } }'), {
    type: 'signed_jwt', key: { source: 'env K' }, keyId: undefined, alg: 'HS256', typ: 'JWT', claims: {}, lifetimeMs: 600_000,
  })
})

t.test('command', async (t) => {
  t.match(credential('{ type: command, command: [helper, --for, alice] }'), { type: 'command', output: { source: 'command helper' } })
})

t.test('json_refresh', async (t) => {
  t.match(credential('{ type: json_refresh, url: "https://h/r" }'), {
    type: 'json_refresh',
    method: 'POST',
    body: undefined,
    headers: new Map(),
    refreshToken: undefined,
    accessToken: undefined,
    response: { accessToken: '/access_token', refreshToken: '/refresh_token', expiresIn: '/expires_in' },
  })
  const full = credential(`
        type: json_refresh
        url: https://h/r
        method: PUT
        headers: { X-App: one, X-Key: { env: KEY }, Authorization: "Bearer {access_token}" }
        body: { token: "{refresh_token}", list: [1, true, null, { file: /f }], env: { env: a, more: b }, deep: { command: [x, y] }, secret: { env: E } }
        refresh_token: { env: R }
        access_token: { env: A }
        response: { access_token: /a, refresh_token: /b, expires_in: /c }`)
  t.match(full, {
    method: 'PUT',
    body: {
      token: '{refresh_token}',
      list: [1, true, null, { source: 'file /f' }],
      env: { env: 'a', more: 'b' },
      deep: { source: 'command x' },
      secret: { source: 'env E' },
    },
    refreshToken: { source: 'env R' },
    accessToken: { source: 'env A' },
    response: { accessToken: '/a', refreshToken: '/b', expiresIn: '/c' },
  })
  const headers = (full as Extract<CredentialConfig, { type: 'json_refresh' }>).headers
  t.equal(headers.get('x-app'), 'one')
  t.match(headers.get('x-key'), { source: 'env KEY' })
})

t.test('the upstream\'s defaults are merged under a principal\'s credential', async (t) => {
  const defaults = `credential: { type: refresh_token, ${OAUTH}, client_secret: { env: S }, refresh_token: { env: R } }`
  t.match(credential('{}', defaults), { type: 'refresh_token', clientId: 'agents', refreshToken: { source: 'env R' } })
  t.match(credential('{ client_id: other, refresh_token: { env: MINE } }', defaults), { clientId: 'other', clientSecret: { source: 'env S' }, refreshToken: { source: 'env MINE' } })
  t.match(credential('{ type: refresh_token }', defaults), { clientId: 'agents' })
  t.match(credential('{ issuer: "https://other" }', defaults), { issuer: new URL('https://other'), tokenEndpoint: undefined }, 'one way to name the server replaces the other')
  t.match(credential('{ type: api_token, token: { env: T } }', defaults), { type: 'api_token' }, 'defaults of another type do not apply')
  t.match(credential('{ type: api_token, token: { env: T } }', `credential: { ${OAUTH} }`), { type: 'api_token' }, 'nor do keys that the type does not know')
  t.match(credential('{ type: client_credentials, client_secret: { env: S } }', `credential: { ${OAUTH} }`), { clientId: 'agents' })
  const byKey = `credential: { ${OAUTH}, client_key: { env: K }, client_key_id: k, client_key_alg: PS256, client_auth: private_key_jwt }`
  t.match(credential('{ type: client_credentials, client_key: { env: MINE } }', byKey), { clientKey: { key: { source: 'env MINE' }, keyId: undefined, alg: 'PS256' } }, 'another key has another id')
  t.match(credential('{ type: client_credentials, client_secret: { env: MINE } }', byKey), { clientAuth: 'client_secret_basic', clientKey: undefined })
  t.match(credential('{ type: client_credentials, client_key: { env: MINE } }', `credential: { ${OAUTH}, client_secret: { env: S }, client_auth: client_secret_post }`), { clientAuth: 'private_key_jwt', clientSecret: undefined })
  t.match(credential('{ type: client_credentials, client_secret: { env: MINE } }', `credential: { ${OAUTH}, client_secret: { env: S }, client_auth: client_secret_post }`), { clientAuth: 'client_secret_post' })
  const minted = 'credential: { type: jwt_bearer, issuer: "https://i", key: { env: K }, key_id: k, alg: ES256, claims: { iss: i, sub: s }, lifetime: 5m }'
  t.match(credential('{ assertion: { file: /a } }', minted), { assertion: { source: 'file /a' } })
  t.match(credential('{ key: { env: MINE }, claims: { iss: i, sub: t } }', minted), { assertion: { keyId: undefined, alg: 'ES256', claims: { sub: 't' }, lifetimeMs: 300_000 } })
  t.match(credential('{ key: { env: MINE }, claims: { iss: i, sub: t } }', 'credential: { type: jwt_bearer, issuer: "https://i", assertion: { file: /a } }'), { assertion: { key: { source: 'env MINE' } } })
  t.strictSame(mergeCredential({ client_id: 'c' }, { type: 'api_token', token: 1 }), { type: 'api_token', token: 1 })
  t.strictSame(mergeCredential(undefined, { a: 1 }), { a: 1 })
  t.strictSame(mergeCredential({ a: 1 }, {}), { a: 1 }, 'without a type there is nothing to choose by')
})

t.test('what is missing or contradicts itself is shown at the principal', async (t) => {
  const cases: Array<[string, string[]]> = [
    ['{}', [`${HERE}.type: is required, here or in the credential of the upstream: one of ${TYPES}`]],
    ['{ type: api_tokn }', [`${HERE}.type: must be one of ${TYPES}`]],
    ['{ type: api_token }', [`${HERE}.token: is required by a credential of type api_token`]],
    ['{ type: refresh_token, refresh_token: { env: R } }', [
      `${HERE}.client_id: is required beside refresh_token`,
      `${HERE}.token_endpoint: is required, or issuer in its place`,
    ]],
    ['{ type: refresh_token, client_id: c, client_secret: { env: S } }', [`${HERE}.token_endpoint: is required, or issuer in its place`]],
    ['{ type: refresh_token, issuer: "https://i", client_secret: { env: S } }', [`${HERE}.client_id: is required beside client_secret`]],
    ['{ type: refresh_token, issuer: "https://i", client_key: { env: S } }', [`${HERE}.client_id: is required beside client_key`]],
    [`{ type: client_credentials, ${OAUTH} }`, [`${HERE}.client_secret: is required by a credential of type client_credentials, or client_key in its place`]],
    [`{ type: client_credentials, ${OAUTH}, client_auth: none }`, [`${HERE}.client_auth: is none, and client_credentials are for clients that have a secret or a key`]],
    [`{ type: client_credentials, ${OAUTH}, client_auth: private_key_jwt }`, [`${HERE}.client_key: is required by client_auth`]],
    [`{ type: client_credentials, ${OAUTH}, client_auth: private_key_jwt, client_secret: { env: S } }`, [`${HERE}.client_auth: is private_key_jwt although there is a client_secret: leave one of them out`]],
    [`{ type: client_credentials, ${OAUTH}, client_auth: client_secret_post, client_key: { env: S } }`, [`${HERE}.client_auth: is about a client_secret although there is a client_key: leave one of them out`]],
    [`{ type: client_credentials, ${OAUTH}, client_auth: none, client_key: { env: S } }`, [`${HERE}.client_auth: is none although there is a client_key: leave one of them out`]],
    [`{ type: client_credentials, ${OAUTH}, client_secret: { env: S }, client_key: { env: K } }`, [`${HERE}.client_key: give either client_secret or client_key, not both`]],
    ['{ type: client_credentials, issuer: "https://i", client_key: { env: K } }', [`${HERE}.client_id: is required by a credential of type client_credentials`]],
    [`{ type: client_credentials, ${OAUTH}, client_secret: { env: S }, client_key_id: k, client_key_alg: RS256 }`, [
      `${HERE}.client_key_id: has no meaning without client_key`, `${HERE}.client_key_alg: has no meaning without client_key`,
    ]],
    [`{ type: client_credentials, ${OAUTH}, client_key: { env: S }, client_key_alg: HS256 }`, [
      `${HERE}.client_key_alg: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519`,
    ]],
    [`{ type: client_credentials, ${OAUTH}, client_keys: { env: S }, client_secret: { env: S } }`, [`${HERE}.client_keys: unknown key; did you mean "client_key"?`]],
    ['{ type: token_exchange }', [`${HERE}.token_endpoint: is required, or issuer in its place`]],
    [`{ type: token_exchange, ${OAUTH}, subject_tokn: x, actor_token_type: jwt }`, [
      `${HERE}.subject_tokn: unknown key; did you mean "subject_token"?`, `${HERE}.actor_token_type: has no meaning without actor_token`,
    ]],
    [`{ type: token_exchange, ${OAUTH}, subject_token_type: JWT, requested_token_type: refresh_token, audience: "a\tb" }`, [
      `${HERE}.subject_token_type: expected one of access_token, refresh_token, id_token, saml1, saml2, jwt, or a URI (RFC 8693)`,
      `${HERE}.requested_token_type: is a refresh token, which is never sent to an upstream`,
      `${HERE}.audience: expected printable ASCII characters, without space around them`,
    ]],
    ['{ type: token_exchange, issuer: "https://i", client_secret: { env: S } }', [`${HERE}.client_id: is required beside client_secret`]],
    ['{ type: jwt_bearer, issuer: "https://i" }', [`${HERE}.key: is required by a credential of type jwt_bearer, or assertion in its place`]],
    ['{ type: jwt_bearer, issuer: "https://i", key: { env: K } }', [`${HERE}.claims.iss: is required (RFC 7523), or client_id in its place`]],
    ['{ type: jwt_bearer, issuer: "https://i", key: { env: K }, assertion: { env: A } }', [`${HERE}.assertion: give either assertion or key, not both`]],
    ['{ type: jwt_bearer, issuer: "https://i", assertion: { env: A }, alg: RS256, lifetime: 5m, claims: {} }', ['alg', 'claims', 'lifetime'].map((key) => `${HERE}.${key}: has no meaning beside assertion, which is there already`)],
    ['{ type: signed_jwt }', [`${HERE}.alg: is required by a credential of type signed_jwt`, `${HERE}.key: is required by a credential of type signed_jwt`]],
    ['{ type: signed_jwt, key: { env: K }, alg: none }', [`${HERE}.alg: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, HS256, HS384, HS512`]],
    ['{ type: signed_jwt, key: { env: K }, alg: ES256, lifetime: 4s, claims: [] }', [
      `${HERE}.lifetime: expected a duration of at least 5s, in whole seconds`, `${HERE}.claims: expected a map of claims, such as { iss: mcp-valet, sub: alice }`,
    ]],
    ['{ type: signed_jwt, key: { env: K }, alg: ES256, lifetime: 5500ms }', [`${HERE}.lifetime: expected a duration of at least 5s, in whole seconds`]],
    ['{ type: signed_jwt, key: { env: K }, alg: ES256, lifetime: 60 }', [`${HERE}.lifetime: expected a duration such as 250ms, 5s, 2m or 1h`]],
    ['{ type: signed_jwt, key: { env: K }, alg: ES256, claims: { exp: 1, iat: 1, jti: x, iss: 1, sub: "", aud: [], nbf: now, x: .nan } }', [
      ...['exp', 'iat', 'jti'].map((name) => `${HERE}.claims.${name}: is set by mcp-valet for each JWT: how long it is good is said by lifetime`),
      `${HERE}.claims.iss: expected a text`, `${HERE}.claims.sub: expected a text`, `${HERE}.claims.aud: expected a text or a list of texts`,
      `${HERE}.claims.nbf: expected a number: seconds since 1970`, `${HERE}.claims.x: expected a JSON value`,
    ]],
    ['{ type: signed_jwt, key: { env: K }, alg: ES256, claims: { aud: [a, 1] } }', [`${HERE}.claims.aud: expected a text or a list of texts`]],
    [`{ type: signed_jwt, key: { env: K }, alg: ES256, claims: { a: ${'x'.repeat(4096)} } }`, [`${HERE}.claims: takes more than 4 KiB as JSON: a token must fit into a header`]],
    ['{ type: command }', [`${HERE}.command: is required by a credential of type command`]],
    ['{ type: command, command: "a b" }', [`${HERE}.command: expected a program and its arguments, such as [/usr/local/bin/mcp-token, --json]`]],
    ['{ type: command, command: [] }', [`${HERE}.command: expected a program and its arguments, such as [/usr/local/bin/mcp-token, --json]`]],
    ['{ type: command, command: [""] }', [`${HERE}.command[0]: expected a path`]],
    [`{ type: client_credentials, ${OAUTH}, client_secret: { env: S }, client_auth: none }`, [`${HERE}.client_auth: is none although there is a client_secret: leave one of them out`]],
    [`{ type: refresh_token, ${OAUTH}, refresh_token: { env: R }, client_auth: client_secret_basic }`, [`${HERE}.client_secret: is required by client_auth`]],
    [`{ type: refresh_token, ${OAUTH}, refresh_token: { env: R }, issuer: "https://i" }`, [`${HERE}.issuer: give either token_endpoint or issuer, not both`]],
    ['{ type: api_token, token: { env: T }, client_id: x }', [`${HERE}.client_id: unknown key`]],
    ['{ type: api_token, token: { env: T }, tokn: x }', [`${HERE}.tokn: unknown key; did you mean "token"?`]],
    ['{ type: json_refresh }', [`${HERE}.url: is required by a credential of type json_refresh`]],
    ['{ type: json_refresh, url: "https://h", method: GET, body: {} }', [`${HERE}.body: a GET has no body: use another method`]],
    ['{ type: json_refresh, url: "https://h", body: { a: "{refresh_token}" } }', [`${HERE}.refresh_token: is required, as the request has {refresh_token} in it`]],
    ['{ type: json_refresh, url: "https://h", body: ["{refreshtoken}"] }', [`${HERE}.body[0]: only {refresh_token} and {access_token} are filled in`]],
    ['{ type: json_refresh, url: "https://h", headers: { X-A: a, x-a: b } }', [`${HERE}.headers.x-a: this header is there twice: upper and lower case are the same`]],
    ['{ type: json_refresh, url: "https://h", headers: { X-A: "{x}" } }', [`${HERE}.headers.X-A: only {refresh_token} and {access_token} are filled in`]],
    ['{ type: json_refresh, url: "https://h", headers: { X-A: "a\\tb", Host: x, X-B: 5 } }', [
      `${HERE}.headers.X-A: expected printable ASCII characters, without space around them`,
      `${HERE}.headers.Host: this header is set by HTTP itself`,
      `${HERE}.headers.X-B: expected a text, or { env: NAME }, { file: PATH } or { command: [..] }`,
    ]],
    ['{ type: json_refresh, url: "https://h", body: .nan, response: { access_token: x } }', [
      `${HERE}.body: expected a JSON value`, `${HERE}.response.access_token: expected a JSON Pointer (RFC 6901), such as /access_token or /data/token`,
    ]],
  ]
  for (const [written, expected] of cases) t.strictSame(complaints(yaml({ top: JWTS, credential: written })).sort(), expected.sort(), written)
})

t.test('what is wrong in the defaults is shown there, and once', async (t) => {
  t.strictSame(complaints(yaml({ upstream: 'credential: { type: refresh_tokn }', credential: '{}' })), [
    'upstreams.tools.credential.type: must be one of ' + TYPES,
  ])
  t.strictSame(complaints(yaml({ upstream: 'credential: { type: api_token, token: { env: T } }', credential: '{ client_id: x, tokn: y }' })), [
    `${HERE}.client_id: unknown key for a credential of type api_token`, `${HERE}.tokn: unknown key; did you mean "token"?`,
  ])
  t.strictSame(complaints(yaml({ upstream: 'credential: [1]', credential: '{ type: api_token, token: { env: T } }' })), [
    'upstreams.tools.credential: expected a map (key: value)',
  ])
  t.strictSame(complaints(yaml({ upstream: 'credential: { type: json_refresh, url: "https://h", body: { password: x } }' })).length, 1)
})

t.test('paths of upstreams', async (t) => {
  const two = (a: string, b: string) => complaints(`upstreams:\n  a: { url: http://localhost, path: ${a} }\n  b: { url: http://localhost, path: ${b} }`)
  t.strictSame(two('/x', '/x/'), ['upstreams.b.path: another upstream has the same path: "a"'])
  t.strictSame(two('/x', '/x/y/z'), ['upstreams.b.path: is below the path of another upstream, to which all calls below it belong: "a"'])
  t.strictSame(two('/x/y', '/x'), ['upstreams.a.path: is below the path of another upstream, to which all calls below it belong: "b"'])
  t.strictSame(two('/x', '/xy'), [], 'segments are whole')
  t.strictSame(two('/x', '/X'), [], 'paths are case-sensitive')
  t.strictSame(complaints('upstreams:\n  a: { url: http://localhost, path: /b/mcp }\n  b: { url: http://localhost }'), ['upstreams.b.path: another upstream has the same path: "a"'])
  t.match(complaints('upstreams: { token: { url: http://localhost } }'), [/^upstreams\.token\.path: must be given, as the default is refused: /])
  t.strictSame(complaints('upstreams: { token: { url: http://localhost, path: /t } }'), [])
  t.match(complaints('upstreams: { "a b": { url: http://localhost } }'), [/^upstreams\["a b"\]: the name of an upstream/])
})
