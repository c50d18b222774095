import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, loadConfigFile, loadConfigText } from '../../../src/config/load.js'
import { at } from '../../../src/config/raw.js'
import { complaints, load, problemsOf, warningsOf, yaml } from './helpers.js'

t.test('the least config has every default', async (t) => {
  const config = load('upstreams: { tools: { url: http://localhost:8001/mcp } }')
  t.strictSame(config.listen, { host: '127.0.0.1', port: 8401 })
  t.strictSame(config.admin, { listen: { host: '127.0.0.1', port: 8402 }, token: undefined })
  t.strictSame(config.callers, { header: 'x-session-key', hosts: [], origins: [], relayAuthorization: false, jwt: undefined })
  t.strictSame(config.state, { driver: 'lmdb', path: './var/state', key: undefined, previousKeys: [] })
  t.strictSame(config.principals, new Map())
  t.strictSame(config.sessions, [])
  t.strictSame([...config.upstreams], [['tools', {
    name: 'tools',
    url: new URL('http://localhost:8001/mcp'),
    path: '/tools/mcp',
    headers: new Map([['Authorization', 'Bearer {token}'], ['X-API-KEY', '{token}']]),
    anonymous: new Set(),
    refreshOn: new Set([401, 403]),
    refreshOnAnswer: [],
    replays: 2,
    backoff: { baseMs: 100, maxMs: 2_000 },
    deadlineMs: 30_000,
    timeouts: { connectMs: 5_000, headersMs: 120_000, idleMs: 0 },
    bodyLimit: 4 * 1024 * 1024,
    tls: { ca: undefined, cert: undefined, key: undefined, serverName: undefined },
    tools: { allow: ['*'], deny: [] },
    credential: undefined,
    subjectCredential: undefined,
  }]])
})

t.test('every value that is given is taken', async (t) => {
  const config = load(yaml({
    top: 'listen: "[::1]:0"\nadmin: { listen: "unix:/run/valet.sock" }\n' +
      'callers: { header: X-Key, hosts: [Valet.internal], origins: ["https://app.example:8443"], relay_authorization: true }\n' +
      'state: { path: /data, key: { file: /run/k } }',
    upstream: 'path: /a/b/\nheaders: { X-Token: "t {token}" }\nanonymous: [no_principal]\nrefresh_on: [401]\nreplays: 0\n' +
      'backoff: { base: 0ms, max: 1s }\ndeadline: 1m\ntimeouts: { connect: 1s, headers: 2s, idle: 3s }\nbody_limit: 64KiB\ntools: { allow: ["*"], deny: [] }',
    upstreams: 'tls:\n  url: https://h/\n  tls: { ca: ./ca.pem, cert: { file: c }, key: { env: KEY }, server_name: name.example }',
    principals: 'bob: {}',
    session: 'expires_at: 2027-01-01T00:00:00+01:00, tools: {}',
  }))
  t.strictSame(config.listen, { host: '::1', port: 0 })
  t.strictSame(config.admin.listen, { socket: '/run/valet.sock' })
  t.strictSame(config.callers, { header: 'x-key', hosts: ['valet.internal'], origins: ['https://app.example:8443'], relayAuthorization: true, jwt: undefined })
  t.match(config.state, { driver: 'lmdb', path: '/data', key: { source: 'file /run/k' } })
  t.match(config.upstreams.get('tools'), {
    path: '/a/b',
    headers: new Map([['X-Token', 't {token}']]),
    replays: 0,
    backoff: { baseMs: 0, maxMs: 1_000 },
    deadlineMs: 60_000,
    timeouts: { connectMs: 1_000, headersMs: 2_000, idleMs: 3_000 },
    bodyLimit: 65_536,
  })
  t.strictSame([...config.upstreams.get('tools')?.refreshOn ?? []], [401])
  t.strictSame([...config.upstreams.get('tools')?.anonymous ?? []], ['no_principal'])
  t.match(config.upstreams.get('tls')?.tls, { ca: { source: 'file ./ca.pem' }, cert: { source: 'file c' }, key: { source: 'env KEY' }, serverName: 'name.example' })
  t.equal(config.principals.get('bob')?.credentials.size, 0)
  t.match(config.sessions, [{ principal: 'alice', agent: 'planner', key: { source: 'env K' }, expiresAt: Date.UTC(2026, 11, 31, 23) }])
  t.strictSame(load(yaml({ top: 'state: { driver: memory }' })).state, { driver: 'memory' })
})

t.test('TLS files: certificates may be open to others, the key may not; all may have lines', async (t) => {
  const pem = join(t.testdir({ pem: 'a\nb\n' }), 'pem')
  const { tls } = load(yaml({ upstreams: `x: { url: "https://h", tls: { ca: ${pem}, cert: { file: ${pem} }, key: { file: ${pem} } } }` })).upstreams.get('x') ?? {}
  t.equal((await tls?.ca?.read())?.reveal(), 'a\nb')
  t.equal((await tls?.cert?.read())?.reveal(), 'a\nb')
  await t.rejects(async () => await tls?.key?.read(), { message: /chmod/ })
})

t.test('the environment that was passed is the one that is read', async (t) => {
  const config = load(yaml(), { K: 'key' })
  t.equal((await config.sessions[0]?.key.read())?.reveal(), 'key')
})

t.test('all problems at once, in the order of the file, with line and column', async (t) => {
  const text = `listen: 8401
upstreams:
  tools:
    urll: http://x/
    replays: 11
principals:
  alice:
    credentials:
      tools: { type: api_token }
sessions:
  - { principal: alice, agent: a }
  - principal: bob
    agent: a
    key: { env: K }
`
  t.strictSame(problemsOf(text), [
    { path: 'listen', line: 1, column: 1, message: 'expected host:port, [IPv6]:port or unix:/absolute/path.sock, such as 127.0.0.1:8401' },
    { path: 'upstreams.tools.url', line: 3, column: 3, message: 'is required' },
    { path: 'upstreams.tools.urll', line: 4, column: 5, message: 'unknown key; did you mean "url"?' },
    { path: 'upstreams.tools.replays', line: 5, column: 5, message: 'expected a whole number from 0 to 10' },
    { path: 'principals.alice.credentials.tools.token', line: 9, column: 7, message: 'is required by a credential of type api_token' },
    { path: 'sessions[0].key', line: 11, column: 5, message: 'is required' },
    { path: 'sessions[1].principal', line: 12, column: 5, message: 'there is no such principal' },
  ])
  t.throws(() => loadConfigText(text, { env: {}, file: 'v.yaml' }), {
    name: 'ConfigError', file: 'v.yaml', message: /^v\.yaml:1:1 listen: expected [\s\S]+\nv\.yaml:4:5 upstreams\.tools\.urll: unknown key; did you mean "url"\?\n/,
  })
})

t.test('problems within an alias are shown where its anchor is', async (t) => {
  t.strictSame(problemsOf('upstreams:\n  a: &a\n    url: ftp://x\n  b: *a\n').map(({ path, line }) => [path, line]), [
    ['upstreams.a.url', 3], ['upstreams.b.url', 3],
  ])
})

t.test('a config that is full of problems names the first 200', async (t) => {
  const keys = Array.from({ length: 300 }, (_, index) => `k${'x'.repeat(index % 20)}${'y'.repeat(index / 20)}: 1`).join('\n')
  const problems = problemsOf(`upstreams: { tools: { url: http://localhost } }\n${keys}`)
  t.equal(problems.length, 201)
  t.ok(problems.some(({ message }) => message === 'and 100 more problems'))
})

t.test('a mistake has one sentence about what is expected', async (t) => {
  const cases: Array<[Parameters<typeof yaml>[0], string]> = [
    [{ top: 'callers: { relay_authorization: 1 }' }, 'callers.relay_authorization: expected true or false'],
    [{ top: 'callers: { hosts: x }' }, 'callers.hosts: expected a list'],
    [{ top: 'callers: { hosts: ["http://x"] }' }, 'callers.hosts[0]: expected a host name, with a port or without, such as valet.internal'],
    [{ top: 'callers: []' }, 'callers: expected a map (key: value)'],
    [{ top: 'callers:' }, 'callers: is empty: give it a value, or leave the key out'],
    [{ top: '$schema: 1' }, '$schema: expected a text'],
    [{ top: 'state: { driver: sqlite }' }, 'state.driver: must be one of memory, lmdb, redis'],
    [{ top: 'state: { driver: memory, path: x }' }, 'state.path: has no meaning with driver: memory'],
    [{ top: 'state: { path: "" }' }, 'state.path: expected a path'],
    [{ upstream: 'deadline: 5' }, 'upstreams.tools.deadline: expected a duration such as 250ms, 5s, 2m or 1h'],
    [{ upstream: 'deadline: 0s' }, 'upstreams.tools.deadline: expected a duration longer than zero'],
    [{ upstream: 'deadline: 30d' }, 'upstreams.tools.deadline: expected a duration of at most 24 days'],
    [{ upstream: 'timeouts: { connect: 0 }' }, 'upstreams.tools.timeouts.connect: expected a duration such as 250ms, 5s, 2m or 1h'],
    [{ upstream: 'timeouts: { idle: 5 }' }, 'upstreams.tools.timeouts.idle: expected a duration such as 250ms, 5s, 2m or 1h; or 0 for no limit'],
    [{ upstream: 'body_limit: 4MB' }, 'upstreams.tools.body_limit: expected a size such as 64KiB or 4MiB'],
    [{ upstream: 'body_limit: 2GiB' }, 'upstreams.tools.body_limit: expected a size of at most 1GiB'],
    [{ upstream: 'refresh_on: [401, 500]' }, 'upstreams.tools.refresh_on[1]: must be one of 401, 403'],
    [{ upstream: 'refresh_on: [401, 401]' }, 'upstreams.tools.refresh_on: holds the same value twice'],
    [{ upstream: 'anonymous: [always]' }, 'upstreams.tools.anonymous[0]: must be one of no_principal, refresh_failed'],
    [{ upstream: 'replays: 1.5' }, 'upstreams.tools.replays: expected a whole number from 0 to 10'],
    [{ upstream: 'replays: -1' }, 'upstreams.tools.replays: expected a whole number from 0 to 10'],
    [{ upstream: 'backoff: { base: 3s }' }, 'upstreams.tools.backoff.base: must not be longer than backoff.max'],
    [{ upstream: 'headers: {}' }, 'upstreams.tools.headers: names no header: leave it out for the default'],
    [{ upstream: 'headers: { X-A: "{token}", x-a: "{token}" }' }, 'upstreams.tools.headers.x-a: this header is there twice: upper and lower case are the same'],
    [{ upstream: 'headers: { X-A: 5 }' }, 'upstreams.tools.headers.X-A: must contain {token} exactly once, such as "Bearer {token}": the token itself is never written here'],
    [{ upstream: 'tls: { ca: x }' }, 'upstreams.tools.tls: has no meaning for an http: url'],
    [{ upstreams: 'x: { url: "https://h", tls: { cert: x } }' }, 'upstreams.x.tls.key: is required beside tls.cert'],
    [{ upstreams: 'x: { url: "https://h", tls: { key: { env: X } } }' }, 'upstreams.x.tls.cert: is required beside tls.key'],
    [{ upstreams: 'x: { url: "https://h", tls: { ca: 5 } }' }, 'upstreams.x.tls.ca: expected the path of a PEM file, or { env: NAME }, { file: PATH } or { command: [..] }'],
    [{ upstreams: '-x: { url: "https://h" }' }, 'upstreams.-x: the name of an upstream is 1 to 64 letters, digits, "_", "." or "-", and starts with a letter or digit'],
    [{ principals: '.: {}' }, 'principals["."]: "." and ".." cannot be the name of a principal: in the address of the admin API they are steps of a path, so it could never be reached'],
    [{ principals: '"a\\tb": {}' }, 'principals["a\\tb"]: the name of a principal is 1 to 256 printable characters, without space around them'],
    [{ principals: 'bob: { credentials: { tolls: { type: api_token, token: { env: X } } } }' }, 'principals.bob.credentials.tolls: there is no such upstream; did you mean "tools"?'],
    [{ principals: 'bob: { credentials: { tools: [] } }' }, 'principals.bob.credentials.tools: expected a map (key: value)'],
    [{ session: 'expires_at: 2027-02-30T00:00:00Z' }, 'sessions[0].expires_at: expected a date and time with its zone (RFC 3339), such as 2027-01-01T00:00:00Z'],
    [{ session: 'expires_at: 2027' }, 'sessions[0].expires_at: expected a date and time with its zone (RFC 3339), such as 2027-01-01T00:00:00Z'],
    [{ top: 'admin: { listen: "localhost:8401" }' }, 'admin.listen: must be another address than listen'],
    [{ top: '<<: { listen: "localhost:1" }' }, '["<<"]: merge keys (<<) are not understood here'],
    [{ top: 'replays: 3' }, 'replays: unknown key here; it is a setting of an upstream: upstreams.NAME.replays'],
    [{ top: 'listne: x' }, 'listne: unknown key; did you mean "listen"?'],
    [{ top: 'colour: x' }, 'colour: unknown key'],
  ]
  for (const [parts, complaint] of cases) t.strictSame(complaints(yaml(parts)), [complaint])
  t.match(complaints('upstreams: {}'), [/^upstreams: expected at least one upstream, such as/])
  t.match(complaints('listen: "localhost:1"'), [/^upstreams: is required$/])
  t.match(complaints('[]'), [/^: expected a map/])
  t.strictSame(complaints(yaml() + '\n  - { principal: alic, agent: "", key: { env: K } }'), [
    'sessions[1].principal: there is no such principal; did you mean "alice"?',
    'sessions[1].agent: the name of an agent is 1 to 128 printable characters, without space around them',
    'sessions[1].key: another session has the same key',
  ])
})

t.test('T1: tool rules of upstream, principal and session are taken, and mistakes in them shown where they are', async (t) => {
  const config = load(yaml({ upstream: 'tools: { deny: ["admin_*"] }', principals: 'bob: { tools: { allow: [] } }', session: 'tools: { allow: [search_notes, "get_?"] }' }))
  t.strictSame(config.upstreams.get('tools')?.tools, { allow: ['*'], deny: ['admin_*'] })
  t.strictSame(config.principals.get('bob')?.tools, { allow: [], deny: [] })
  t.strictSame(config.principals.get('alice')?.tools, undefined)
  t.strictSame(config.sessions[0]?.tools, { allow: ['search_notes', 'get_?'], deny: [] })
  t.strictSame(complaints(yaml({ principals: 'bob: { tools: { alow: ["*"] } }' })), ['principals.bob.tools.alow: unknown key; did you mean "allow"?'])
  for (const [rules, path] of [['x', 'tools'], ['{ allow: x }', 'tools.allow'], ['{ deny: [1] }', 'tools.deny[0]'], ['{ deny: [ok, ""] }', 'tools.deny[1]'], ['{ deny: ["a\\nb"] }', 'tools.deny[0]']]) {
    t.strictSame(problemsOf(yaml({ session: `tools: ${rules}` })).map((problem) => problem.path), [`sessions[0].${path}`])
  }
})

t.test('warnings are for what works and is likely not meant', async (t) => {
  t.strictSame(warningsOf(yaml()), [])
  t.strictSame(warningsOf(yaml({
    top: 'listen: 0.0.0.0:1\nadmin: { listen: "[::]:2" }',
    upstreams: 'far:\n  url: http://far.example/mcp\n  credential: { type: client_credentials, token_endpoint: "http://id.example/t" }',
    credential: '{ type: refresh_token, issuer: "http://10.0.0.1", client_id: c, refresh_token: { env: R } }',
    principals: 'bob: { credentials: { tools: { type: json_refresh, url: "http://[::1]:1/x" } } }',
  })), [
    'listen: other machines can connect, and their calls are refused until the names they use are listed under callers.hosts',
    'admin.listen: other machines can read health and metrics, which ask for no credential',
    'upstreams.far.url: plain http: tokens cross the network unencrypted',
    'upstreams.far.credential.token_endpoint: plain http: tokens cross the network unencrypted',
    'principals.alice.credentials.tools.issuer: plain http: tokens cross the network unencrypted',
  ])
  const minted = 'type: jwt_bearer, issuer: "https://id.example", client_id: c, key: { env: KEY }'
  t.strictSame(warningsOf(yaml({ credential: `{ ${minted}, claims: { aud: a } }` })), [
    'principals.alice.credentials.tools.claims: names no sub, which RFC 7523 asks for: most issuers refuse an assertion without one',
  ])
  t.strictSame(warningsOf(yaml({ credential: `{ ${minted}, claims: { sub: s } }` })), [])
  t.strictSame(warningsOf(yaml({ credential: '{ type: jwt_bearer, issuer: "https://id.example", assertion: { env: A } }' })), [])
  t.strictSame(warningsOf(yaml({ top: 'listen: 0.0.0.0:1\ncallers: { hosts: [valet] }' })), [])
  t.ok(loadConfigText(yaml({ top: 'listen: 0.0.0.0:1' }), { env: {} }), 'nobody needs to listen')
})

t.test('a refresh token that two credentials would spend is warned of, at each but the first', async (t) => {
  const oauth = (more: string): string => `{ type: refresh_token, issuer: "https://id.example", client_id: c, ${more} }`
  const at = (credentials: string): string[] => warningsOf(yaml({ upstreams: 'two: { url: "http://localhost:8002/mcp" }', credential: oauth('refresh_token: { env: R }'), principals: `bob: { credentials: ${credentials} }` }))
  const warning = 'is the same as principals.alice.credentials.tools.refresh_token: an issuer that gives a new refresh token for each that is used takes the second use for a theft, and ends both. ' +
    'Log in once for each, or put what needs one login behind one upstream'
  t.strictSame(at(`{ tools: ${oauth('refresh_token: { env: R }')}, two: ${oauth('refresh_token: { env: R }, scope: a')} }`), [
    `principals.bob.credentials.tools.refresh_token: ${warning}`, `principals.bob.credentials.two.refresh_token: ${warning}`,
  ])
  t.strictSame(at(`{ tools: ${oauth('refresh_token: { env: S }')}, two: ${oauth('refresh_token: { file: R }')} }`), [], 'kept elsewhere')
  t.strictSame(at('{ two: { type: refresh_token, issuer: "https://other.example", client_id: c, refresh_token: { env: R } } }'), [], 'spent elsewhere')
  t.strictSame(at(`{ two: ${oauth('access_token: { env: R }')} }`), [])

  const json = '{ type: json_refresh, url: "https://p.example/r", refresh_token: { env: R } }'
  t.match(warningsOf(yaml({ upstreams: 'two: { url: "http://localhost:8002/mcp" }', credential: `${json}\n      two: ${json}` })), [/^principals\.alice\.credentials\.two\.refresh_token: is the same as principals\.alice\.credentials\.tools\.refresh_token: /])
  const inherited = `upstreams: { tools: { url: "https://h/mcp", credential: ${oauth('refresh_token: { env: R }')} } }\nprincipals: { a: { credentials: { tools: {} } }, b: { credentials: { tools: {} } } }`
  t.match(warningsOf(inherited), [/^principals\.b\.credentials\.tools\.refresh_token: is the same as principals\.a\./], 'from what the upstream says for all')
})

t.test('names that objects have by birth are names like any other', async (t) => {
  const names = ['constructor', 'hasOwnProperty', 'toString', 'valueOf']
  const text = `upstreams:\n${names.map((name) => `  ${name}: { url: http://localhost }`).join('\n')}\n` +
    `principals:\n${['__proto__', ...names].map((name) => `  ${name}: { credentials: { constructor: { type: api_token, token: { env: T } } } }`).join('\n')}\n` +
    'sessions:\n  - { principal: __proto__, agent: __proto__, key: { env: K } }'
  const config = load(text)
  t.strictSame([...config.upstreams.keys()], names)
  t.strictSame([...config.principals.keys()], ['__proto__', ...names])
  t.equal(config.principals.get('__proto__')?.credentials.get('constructor')?.type, 'api_token')
  t.strictSame(complaints(text.replace('principal: __proto__', 'principal: isPrototypeOf')), ['sessions[0].principal: there is no such principal'])
  t.strictSame(complaints('upstreams: { __proto__: { url: http://localhost } }').length, 1, 'its name starts with no letter')
  t.strictSame(complaints(yaml({ top: '__proto__: { listen: x }\nconstructor: 1' })), ['__proto__: unknown key', 'constructor: unknown key'])
  t.strictSame(complaints(yaml({ upstream: '__proto__: { replays: 99 }' })), ['upstreams.tools.__proto__: unknown key'])
  t.strictSame(complaints(yaml({ credential: '{ __proto__: { type: api_token, token: { env: T } } }' })).length, 2)
  t.strictSame(complaints(yaml({ principals: 'bob: { credentials: { toString: { type: api_token, token: { env: T } } } }' })), [
    'principals.bob.credentials.toString: there is no such upstream',
  ])
  t.equal(at({}, 'constructor'), undefined)
  t.equal(at({ constructor: 1 }, 'constructor'), 1)
  t.equal(({} as Record<string, unknown>).listen, undefined)
})

t.test('a file', async (t) => {
  const dir = t.testdir({ 'v.yaml': yaml({ top: 'listen: 0.0.0.0:1' }), 'bad.yaml': 'x', 'big.yaml': '#'.repeat(1024 * 1024 + 1) })
  mkdirSync(join(dir, 'dir'))
  writeFileSync(join(dir, 'latin.yaml'), Buffer.from([0x61, 0xe9]))
  const warnings: string[] = []
  const config = await loadConfigFile(join(dir, 'v.yaml'), { K: 'k' }, { warn: ({ path }) => warnings.push(path) })
  t.equal((await config.sessions[0]?.key.read())?.reveal(), 'k')
  t.strictSame(warnings, ['listen'])
  const refusal = async (name: string) => {
    const error: unknown = await loadConfigFile(join(dir, name), {}).catch((reason: unknown) => reason)
    t.type(error, ConfigError)
    return (error as ConfigError).message.replace(dir, '')
  }
  t.equal(await refusal('none.yaml'), '/none.yaml there is no such file (in a container: mount yours there, read-only)')
  t.equal(await refusal('dir'), '/dir this is a folder: name the config file in it')
  t.equal(await refusal('big.yaml'), '/big.yaml the config is larger than 1 MiB')
  t.equal(await refusal('latin.yaml'), '/latin.yaml the file is not UTF-8 text')
  t.match(await refusal('bad.yaml'), /^\/bad\.yaml:1:1 expected a map/)
  const fifo = join(dir, 'fifo')
  execFileSync('mkfifo', [fifo])
  execFile('cp', [join(dir, 'v.yaml'), fifo])
  t.ok(await loadConfigFile(fifo, {}), 'a pipe, as from -c <(…)')
})
