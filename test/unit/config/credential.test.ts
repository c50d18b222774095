import t from 'tap'
import type { CredentialConfig } from '../../../src/config/config.js'
import { mergeCredential } from '../../../src/config/credential.js'
import { complaints, load, yaml } from './helpers.js'

const HERE = 'principals.alice.credentials.tools'
const OAUTH = 'token_endpoint: "https://id.example/token", client_id: agents'

function credential (written: string, upstream = ''): CredentialConfig | undefined {
  return load(yaml({ credential: written, upstream })).principals.get('alice')?.credentials.get('tools')
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

t.test('client_credentials', async (t) => {
  t.match(credential(`{ type: client_credentials, ${OAUTH}, client_secret: { env: S } }`), { type: 'client_credentials', clientAuth: 'client_secret_basic' })
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
  t.strictSame(mergeCredential({ client_id: 'c' }, { type: 'api_token', token: 1 }), { type: 'api_token', token: 1 })
  t.strictSame(mergeCredential(undefined, { a: 1 }), { a: 1 })
  t.strictSame(mergeCredential({ a: 1 }, {}), { a: 1 }, 'without a type there is nothing to choose by')
})

t.test('what is missing or contradicts itself is shown at the principal', async (t) => {
  const cases: Array<[string, string[]]> = [
    ['{}', [`${HERE}.type: is required, here or in the credential of the upstream: one of api_token, refresh_token, client_credentials, json_refresh`]],
    ['{ type: api_tokn }', [`${HERE}.type: must be one of api_token, refresh_token, client_credentials, json_refresh`]],
    ['{ type: api_token }', [`${HERE}.token: is required by a credential of type api_token`]],
    ['{ type: refresh_token }', [
      `${HERE}.client_id: is required by a credential of type refresh_token`,
      `${HERE}.refresh_token: is required by a credential of type refresh_token`,
      `${HERE}.token_endpoint: is required, or issuer in its place`,
    ]],
    [`{ type: client_credentials, ${OAUTH} }`, [`${HERE}.client_secret: is required by a credential of type client_credentials`]],
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
  for (const [written, expected] of cases) t.strictSame(complaints(yaml({ credential: written })).sort(), expected.sort(), written)
})

t.test('what is wrong in the defaults is shown there, and once', async (t) => {
  t.strictSame(complaints(yaml({ upstream: 'credential: { type: refresh_tokn }', credential: '{}' })), [
    'upstreams.tools.credential.type: must be one of api_token, refresh_token, client_credentials, json_refresh',
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
