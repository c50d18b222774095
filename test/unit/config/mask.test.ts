import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { checkSecrets } from '../../../src/config/check-secrets.js'
import { makeCertificate } from '../../helpers/tls.js'
import { loadConfigText } from '../../../src/config/load.js'
import { effectiveConfig } from '../../../src/config/mask.js'
import { renderProblems } from '../../../src/config/problem.js'
import { load, yaml } from './helpers.js'

const FULL = `
listen: "[::1]:8401"
admin: { listen: "unix:/run/a.sock" }
callers: { header: X-Key, hosts: [valet], origins: ["https://a.example"], relay_authorization: true, jwt: { issuer: "https://id", audience: a } }
state: { driver: lmdb, path: /data, key: { file: /run/my key } }
upstreams:
  tools:
    url: https://h/mcp
    path: /t
    headers: { X-T: "{token}" }
    anonymous: [no_principal, refresh_failed]
    refresh_on: [401]
    replays: 1
    backoff: { base: 50ms, max: 1s }
    deadline: 90s
    timeouts: { connect: 1s, headers: 1m, idle: 1h }
    body_limit: 1KiB
    tls: { ca: ca.pem, cert: { file: c.pem }, key: { env: KEY }, server_name: n.example }
    tools: { deny: ["admin_*"] }
principals:
  a: { credentials: { tools: { type: api_token, token: { command: [pass, show, hidden-argument] } } } }
  b:
    credentials:
      tools: { type: refresh_token, token_endpoint: "https://id/t?key=hidden-query", client_id: c, client_secret: { env: S }, scope: x, refresh_token: { env: R }, access_token: { env: A } }
  c: { credentials: { tools: { type: client_credentials, issuer: "https://id/realm", client_id: c, client_secret: { env: S }, client_auth: client_secret_post } } }
  d:
    tools: { allow: [search, "get_*"], deny: [] }
    credentials:
      tools: { type: json_refresh, url: "https://h/r", method: PUT, headers: { x-a: b, x-key: { env: H } }, body: [1, null, "{refresh_token}", { k: { env: B } }], refresh_token: { env: R }, access_token: { env: A } }
  e: { credentials: { tools: { type: client_credentials, issuer: "https://id", client_id: c, client_key: { file: /k.pem }, client_key_id: k, client_key_alg: ES256 } } }
  f: { credentials: { tools: { type: token_exchange, token_endpoint: "https://id/t", client_id: c, client_secret: { env: S }, subject_token: { env: SUBJECT }, subject_token_type: jwt, requested_token_type: access_token, audience: a, actor_token: { env: ACTOR } } } }
  g: { credentials: { tools: { type: token_exchange, issuer: "https://id", resource: "https://r" } } }
  h: { credentials: { tools: { type: jwt_bearer, issuer: "https://id", assertion: { file: /assertion } } } }
  i: { credentials: { tools: { type: jwt_bearer, issuer: "https://id", key: { env: PEM }, alg: PS256, key_id: k, typ: x+jwt, claims: { iss: i, sub: s, deep: [1, { a: null }] }, lifetime: 90s } } }
  j: { credentials: { tools: { type: signed_jwt, alg: HS256, key: { env: MAC } } } }
  k: { credentials: { tools: { type: command, command: [helper, --secret, hidden-argument] } } }
  l: { credentials: { tools: { type: refresh_token } } }
sessions:
  - { principal: a, agent: x, key: { env: K }, tools: { allow: ["search_*"] }, expires_at: "2027-01-01T00:00:00Z" }
`

t.test('the effective config is one itself, and the same one', async (t) => {
  const shown = effectiveConfig(load(FULL))
  t.notMatch(JSON.stringify(shown), /hidden/)
  const again = stringify(shown).replace('?…', '?x=y')
  t.strictSame(effectiveConfig(load(again)), shown)
  t.match(shown, {
    listen: '[::1]:8401',
    admin: { listen: 'unix:/run/a.sock' },
    callers: { header: 'x-key', hosts: ['valet'], origins: ['https://a.example'], relay_authorization: true },
    state: { driver: 'lmdb', path: '/data', key: { file: '/run/my key' } },
    upstreams: {
      tools: {
        deadline: '90s',
        timeouts: { headers: '1m', idle: '1h' },
        body_limit: '1KiB',
        tls: { ca: { file: 'ca.pem' }, key: { env: 'KEY' }, server_name: 'n.example' },
        tools: { allow: ['*'], deny: ['admin_*'] },
      },
    },
    principals: {
      a: { credentials: { tools: { type: 'api_token', token: { command: ['pass', '…'] } } } },
      b: { credentials: { tools: { token_endpoint: 'https://id/t?…', client_auth: 'client_secret_basic', resource: 'https://h/mcp', access_token: { env: 'A' } } } },
      e: { credentials: { tools: { client_auth: 'private_key_jwt', client_key: { file: '/k.pem' }, client_key_id: 'k', client_key_alg: 'ES256' } } },
      f: { credentials: { tools: { subject_token: { env: 'SUBJECT' }, subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', actor_token_type: 'urn:ietf:params:oauth:token-type:access_token', resource: undefined } } },
      h: { credentials: { tools: { assertion: { file: '/assertion' }, resource: 'https://h/mcp' } } },
      i: { credentials: { tools: { key: { env: 'PEM' }, claims: { iss: 'i', deep: [1, { a: null }] }, lifetime: '90s' } } },
      j: { credentials: { tools: { alg: 'HS256', key: { env: 'MAC' }, typ: 'JWT', claims: {}, lifetime: '10m' } } },
      k: { credentials: { tools: { type: 'command', command: ['helper', '…'] } } },
      l: { credentials: { tools: { type: 'refresh_token', client_id: undefined, refresh_token: undefined } } },
      d: { tools: { allow: ['search', 'get_*'], deny: [] }, credentials: { tools: { body: [1, null, '{refresh_token}', { k: { env: 'B' } }], headers: { 'x-key': { env: 'H' } } } } },
    },
    sessions: [{ principal: 'a', agent: 'x', key: { env: 'K' }, tools: { allow: ['search_*'], deny: [] }, expires_at: '2027-01-01T00:00:00.000Z' }],
  })
})

t.test('that no resource is sent is shown, and reads back', async (t) => {
  const shown = effectiveConfig(load('upstreams: { tools: { url: "https://h/mcp", credential: { type: refresh_token, issuer: "https://i", client_id: c, resource: none } } }\nprincipals: { a: { credentials: { tools: {} } } }'))
  t.match(shown, { principals: { a: { credentials: { tools: { resource: 'none' } } } } })
  t.strictSame(effectiveConfig(load(stringify(shown))), shown)
})

t.test('an audience is shown, and that it stands in for a resource reads back', async (t) => {
  const shown = effectiveConfig(load('upstreams: { tools: { url: "https://h/mcp" } }\nprincipals: { a: { credentials: { tools: { type: client_credentials, issuer: "https://i", client_id: c, client_secret: { env: S }, audience: tools } } } }'))
  t.match(shown, { principals: { a: { credentials: { tools: { audience: 'tools', resource: undefined } } } } })
  t.strictSame(effectiveConfig(load(stringify(shown))), shown)
})

t.test('what the example has in effect reads back', async (t) => {
  const shown = effectiveConfig(load(readFileSync('config/valet.yaml', 'utf8')))
  t.strictSame(effectiveConfig(load(stringify(shown))), shown)
  t.strictSame(effectiveConfig(load('upstreams: { a: { url: http://localhost } }\nstate: { driver: memory }')).state, { driver: 'memory' })
})

t.test('names that objects have by birth are shown', async (t) => {
  const shown = effectiveConfig(load('upstreams: { a: { url: http://localhost } }\nprincipals: { __proto__: {} }'))
  t.strictSame(Object.keys(shown.principals as object), ['__proto__'])
})

t.test('problems, one a line', async (t) => {
  t.equal(renderProblems('config/valet.yaml', [
    { path: 'upstreams.tools.urll', line: 12, column: 5, message: 'unknown key; did you mean "url"?' },
    { path: '', line: 3, column: 1, message: 'm' },
    { path: 'a', line: 0, column: 0, message: 'n' },
    { path: '', line: 0, column: 0, message: 'o' },
  ]), 'config/valet.yaml:12:5 upstreams.tools.urll: unknown key; did you mean "url"?\nconfig/valet.yaml:3:1 m\nconfig/valet.yaml a: n\nconfig/valet.yaml o')
  t.equal(renderProblems(undefined, [{ path: 'a', line: 1, column: 1, message: 'm' }]), 'config:1:1 a: m')
})

t.test('every secret is read, and each that cannot be used is named', async (t) => {
  const pem = (type: 'rsa' | 'ec') => (type === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'P-256' })).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  const client = await makeCertificate(['valet.example'])
  const env = { KEY: client.key, PEM: pem('rsa'), MAC: 'm'.repeat(32), SUBJECT: 'st', ACTOR: 'at', S: 's', R: 'r', A: 'a', H: 'h', B: 'b', K: `vk_${'a'.repeat(43)}` }
  const path = join(t.testdir(), 'key')
  writeFileSync(path, 'pem'.repeat(20))
  chmodSync(path, 0o600)
  const certPath = join(path, '..', 'cert.pem')
  writeFileSync(certPath, client.cert)
  const keyPath = join(path, '..', 'k.pem')
  writeFileSync(keyPath, pem('ec'))
  chmodSync(keyPath, 0o600)
  const text = FULL.replace('/k.pem', keyPath).replace('/assertion', path).replace('[helper, --secret, hidden-argument]', `["${process.execPath}", -e, "console.log(1)"]`).replace('/run/my key', path).replace('ca.pem', certPath).replace('c.pem', certPath).replace('pass, show, hidden-argument', `${process.execPath}, -e, console.log(1)`)
  t.strictSame(await checkSecrets(loadConfigText(text, { env })), [])

  const problems = await checkSecrets(loadConfigText(FULL, { env: {} }))
  t.strictSame(problems.map((problem) => problem.path), [
    'state.key', 'upstreams.tools.tls.ca', 'upstreams.tools.tls.cert', 'upstreams.tools.tls.key', 'principals.a.credentials.tools.token',
    'principals.b.credentials.tools.client_secret', 'principals.b.credentials.tools.refresh_token', 'principals.b.credentials.tools.access_token',
    'principals.c.credentials.tools.client_secret', 'principals.d.credentials.tools.headers.x-key', 'principals.d.credentials.tools.body[3].k',
    'principals.d.credentials.tools.refresh_token', 'principals.d.credentials.tools.access_token',
    'principals.e.credentials.tools.client_key', 'principals.f.credentials.tools.client_secret', 'principals.f.credentials.tools.subject_token', 'principals.f.credentials.tools.actor_token',
    'principals.h.credentials.tools.assertion', 'principals.i.credentials.tools.key', 'principals.j.credentials.tools.key', 'principals.k.credentials.tools.command', 'sessions[0].key',
  ])
  const wrongKeys = await checkSecrets(loadConfigText(text.replace('client_key_alg: ES256', 'client_key_alg: RS256'), { env: { ...env, PEM: pem('ec'), MAC: 'hidden' } }))
  t.strictSame(wrongKeys.map((problem) => `${problem.path}: ${problem.message.replace(keyPath, 'K')}`), [
    'principals.e.credentials.tools.client_key: file K cannot sign with RS256: its key is for ES256',
    'principals.i.credentials.tools.key: env PEM cannot sign with PS256: its key is for ES256',
    'principals.j.credentials.tools.key: env MAC is too short for HS256: it must have at least 32 bytes (RFC 7518)',
  ])
  t.strictSame(problems.at(-1), { path: 'sessions[0].key', line: FULL.slice(0, FULL.indexOf('key: { env: K }')).split('\n').length, column: FULL.split('\n').find((line) => line.includes('key: { env: K }'))!.indexOf('key: {') + 1, message: 'the environment variable K is not set' })
  t.strictSame(await checkSecrets(load('upstreams: { a: { url: http://localhost } }\nstate: { driver: memory }')), [])
})

t.test('session keys have a shape, and belong to one session', async (t) => {
  const second = '\n  - { principal: alice, agent: b, key: { env: L } }'
  const check = async (K: string, L: string) =>
    (await checkSecrets(loadConfigText(yaml() + second, { env: { T: 't', K, L } }))).map(({ path, message }) => `${path}: ${message}`)
  const key = (letter: string) => `vk_${letter.repeat(43)}`
  t.strictSame(await check(key('a'), key('b')), [])
  t.strictSame(await check(key('a'), key('a')), ['sessions[1].key: is the same key as sessions[0].key'])
  t.strictSame(await check('hidden', key('a') + 'a'), [
    'sessions[0].key: env K holds no session key (vk_ and 43 characters); generate one with: mcp-valet keygen',
    'sessions[1].key: env L holds no session key (vk_ and 43 characters); generate one with: mcp-valet keygen',
  ])
})

t.test('secrets are read eight at a time, and what is no SecretRefError is a bug', async (t) => {
  const config = load(yaml())
  let open = 0
  let most = 0
  const token = {
    source: 'env X',
    async read (): Promise<never> {
      open += 1
      most = Math.max(most, open)
      await new Promise((resolve) => setTimeout(resolve, 2))
      open -= 1
      throw new RangeError('bug')
    },
  }
  const good = { ...token, read: async () => { await token.read().catch(() => {}); return await config.sessions[0]?.key.read() as never } }
  const many = (ref: typeof token) => ({
    ...config, sessions: [], principals: new Map(Array.from({ length: 50 }, (_, i) => [`p${i}`, { id: `p${i}`, tools: undefined, credentials: new Map([['tools', { type: 'api_token' as const, token: ref }]]) }])),
  })
  t.equal((await checkSecrets(many(good as typeof token))).length, 50)
  t.equal(most, 8)
  await t.rejects(checkSecrets(many(token)), { message: 'bug' })
})
