import { createHash } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import t from 'tap'
import { createIssuer } from '../../src/demo/issuer.js'
import { startAdmin } from '../helpers/admin-api.js'
import { call, errorCode } from '../helpers/call.js'
import { drain, eventually, freshToken, open, piece } from '../helpers/peers.js'
import { metric } from '../helpers/sidecar.js'
import { bearerOf, startOpaqueIssuer } from '../helpers/tokens.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

const fingerprint = (token: string): string => createHash('sha256').update(token).digest('hex').slice(0, 8)

t.test('P3: a principal that a product puts can call at once, and its replaced token is used by the next call of every session', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, ask, keyFor } = await startAdmin(t, `upstreams: { tools: { url: "${upstream.origin}/mcp" } }`)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const [first, second] = [freshToken(), freshToken()]
  const put = await ask('PUT', '/principals/alice', { credentials: { tools: { type: 'api_token', token: first } } })
  t.same([put.status, put.json()], [200, { id: 'alice', tools: null, source: 'api', upstreams: ['tools'] }])
  const keys = await Promise.all([0, 1, 2].map(async () => (await keyFor('alice')).key))
  for (const key of keys) {
    t.equal((await call(url, { key })).status, 200)
    t.equal(bearerOf(upstream.seen.at(-1)), first)
  }
  t.equal((await ask('PUT', '/principals/alice/credentials/tools', { type: 'api_token', token: second })).status, 200)
  for (const key of keys) {
    await call(url, { key })
    t.equal(bearerOf(upstream.seen.at(-1)), second)
  }
  t.match((await ask('GET', '/credentials')).json().credentials, [{ principal: 'alice', upstream: 'tools', type: 'api_token', state: 'valid', source: 'api', token: fingerprint(second), expires_at: null, error: null }])
  t.notMatch((await ask('GET', '/credentials')).body, second)
})

t.test('F7: a stream that is open goes on while the token under it is replaced', async (t) => {
  const upstream = await startUpstream(t, (seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    if (seen.method === 'GET') t.teardown(() => { response.destroy() })
    upstream.server.once('go on', () => response.end('data: 2\n\n'))
  })
  const { sidecar, ask, keyFor } = await startAdmin(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }`)
  await ask('PUT', '/principals/alice', { credentials: { tools: { token: freshToken() } } })
  const { key } = await keyFor('alice')
  const stream = await open(`${sidecar.proxyUrl}/tools/mcp`, { method: 'GET', key }).head
  t.equal(await piece(stream), 'data: 1\n\n')
  t.equal((await ask('PUT', '/principals/alice', { credentials: { tools: { token: freshToken() } } })).status, 200)
  const ending = drain(stream)
  upstream.server.emit('go on')
  t.same(await ending, { text: 'data: 2\n\n', complete: true })
})

t.test('P3: a principal that is deleted takes its sessions with it, one of the config gets back what the config says', async (t) => {
  const upstream = await startUpstream(t)
  const env = { BOB: freshToken() }
  const { sidecar, ask, keyFor } = await startAdmin(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }
principals: { bob: { credentials: { tools: { token: { env: BOB } } } } }
`, { env })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const [alices, bobs] = [freshToken(), freshToken()]
  t.equal((await ask('DELETE', '/principals/alice')).json().error.code, 'ERR_PRINCIPAL_UNKNOWN')
  t.equal((await ask('DELETE', '/principals/bob')).json().error.code, 'ERR_CONFIGURED')
  for (const [id, token] of [['alice', alices], ['bob', bobs]] as const) await ask('PUT', `/principals/${id}`, { credentials: { tools: { token } } })
  const [alice, bob] = [await keyFor('alice'), await keyFor('bob')]
  await call(url, { key: bob.key })
  t.equal(bearerOf(upstream.seen.at(-1)), bobs, 'what was put comes before what the config says')
  t.match((await ask('GET', '/principals')).json().principals, [{ id: 'alice', source: 'api' }, { id: 'bob', source: 'both' }])

  for (const id of ['alice', 'bob']) t.equal((await ask('DELETE', `/principals/${id}`)).status, 204)
  await eventually(() => sidecar.sessions.list().length === 1, 'the end of the sessions')
  t.equal(errorCode(await call(url, { key: alice.key })), 'ERR_SESSION_UNKNOWN')
  t.equal((await call(url, { key: bob.key })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), env.BOB)
  t.match((await ask('GET', '/principals')).json().principals, [{ id: 'bob', source: 'config' }])
})

t.test('P3: names that a URL cannot hold as they are', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, ask, keyFor } = await startAdmin(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }`)
  for (const id of ['a/b', 'a b', 'ümlaut@example.com', '100%', 'דוד', '%2e%2e', 'x'.repeat(256), '😀'.repeat(128), 'constructor']) {
    const token = freshToken()
    const answer = await ask('PUT', `/principals/${encodeURIComponent(id)}`, { credentials: { tools: { token } } })
    t.equal(answer.json().id, id, answer.body.slice(0, 200))
    const { key } = await keyFor(id)
    await call(`${sidecar.proxyUrl}/tools/mcp`, { key })
    t.equal(bearerOf(upstream.seen.at(-1)), token)
    t.equal((await ask('POST', `/credentials/${encodeURIComponent(id)}/tools/refresh`)).json().error?.code ?? 'ok', 'ok')
    t.equal((await ask('DELETE', `/principals/${encodeURIComponent(id)}`)).status, 204)
  }
})

t.test('F3: a credential is refreshed by hand, and counted as such', async (t) => {
  const upstream = await startUpstream(t)
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 3600 })
  t.teardown(async () => await issuer.close())
  const { sidecar, ask } = await startAdmin(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo } } }`)
  const login = await issuer.login('alice')
  await ask('PUT', '/principals/alice', { credentials: { tools: { access_token: login.access_token, refresh_token: login.refresh_token } } })
  const before = (await ask('GET', '/credentials')).json().credentials[0]
  t.match(before, { state: 'valid', token: fingerprint(login.access_token), refreshed_at: null, expires_at: /Z$/ })
  const answer = await ask('POST', '/credentials/alice/tools/refresh')
  t.equal(answer.status, 200)
  t.match(answer.json(), { principal: 'alice', upstream: 'tools', type: 'refresh_token', state: 'valid', source: 'api', refreshed_at: /Z$/, error: null })
  t.not(answer.json().token, before.token)
  t.same((await ask('GET', '/credentials')).json().credentials, [answer.json()])
  t.equal(issuer.requests.refresh_token.ok, 1)
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_token_refresh_total{upstream="tools",type="refresh_token",trigger="manual",outcome="ok"}'), 1)
})

t.test('F5: a refresh that fails says why, and the credential shows it', async (t) => {
  const upstream = await startUpstream(t)
  let answer: { status: number, body: object } = { status: 500, body: {} }
  const issuer = await startOpaqueIssuer(t, { instead: () => answer })
  const { ask } = await startAdmin(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: demo } } }`)
  await ask('PUT', '/principals/alice', { credentials: { tools: { refresh_token: issuer.seed, access_token: freshToken(), expires_in: 3600 } } })
  const failed = await ask('POST', '/credentials/alice/tools/refresh')
  t.equal(failed.status, 502)
  t.match(failed.json().error, { code: 'ERR_REFRESH_FAILED', details: [{ path: '', message: /HTTP 500/ }] })
  t.match((await ask('GET', '/credentials')).json().credentials, [{ state: 'valid', error: /HTTP 500/ }], 'the token is still good')

  answer = { status: 400, body: { error: 'invalid_grant' } }
  t.match((await ask('POST', '/credentials/alice/tools/refresh')).json().error, { code: 'ERR_REFRESH_FAILED' })
  for (const [path, code] of [['/credentials/none/tools/refresh', 'ERR_PRINCIPAL_UNKNOWN'], ['/credentials/alice/none/refresh', 'ERR_NOT_FOUND']] as const) {
    const refused = await ask('POST', path)
    t.same([refused.status, refused.json().error.code], [404, code])
  }
})

t.test('P3: what is no credential is refused whole, and what was there stays', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, ask, keyFor } = await startAdmin(t, `
upstreams:
  tools: { url: "${upstream.origin}/mcp" }
  crm: { url: "${upstream.origin}/crm" }
`)
  const token = freshToken()
  await ask('PUT', '/principals/alice', { credentials: { tools: { type: 'api_token', token } } })
  const { key } = await keyFor('alice')
  for (const [credentials, path] of [
    [{ crm: { type: 'api_token', token: 'a b' } }, 'credentials.crm.token'],
    [{ crm: { type: 'api_token' } }, 'credentials.crm.token'],
    [{ crm: {} }, 'credentials.crm.type'],
    [{ crm: { type: 'refresh_token', refresh_token: 'rt', client_id: 'x' } }, 'credentials.crm.token_endpoint'],
    [{ crm: { type: 'api_token', token, issuer: 'https://id.example' } }, 'credentials.crm.issuer'],
    [{ nope: { type: 'api_token', token } }, /credentials.nope/],
    [{ tools: { type: 'api_token', token: freshToken() }, crm: { type: 'nope' } }, 'credentials.crm.type'],
  ] as const) {
    const answer = await ask('PUT', '/principals/alice', { credentials })
    t.equal(answer.status, 400, answer.body)
    t.match(answer.json().error.details[0].path, path)
  }
  await call(`${sidecar.proxyUrl}/tools/mcp`, { key })
  t.equal(bearerOf(upstream.seen.at(-1)), token)
  t.match((await ask('GET', '/principals')).json().principals, [{ id: 'alice', upstreams: ['tools'] }])
})

t.test('P3: put tokens and principals outlive the process', async (t) => {
  const upstream = await startUpstream(t, guarded(() => true))
  const yaml = `state: { driver: lmdb, path: "${t.testdir({})}/state" }\nupstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }`
  const first = await startAdmin(t, yaml)
  const token = freshToken()
  await first.ask('PUT', '/principals/alice', { tools: ['x*'], credentials: { tools: { token } } })
  const { key } = await first.keyFor('alice')
  await first.sidecar.close()
  const second = await startAdmin(t, yaml)
  t.equal((await call(`${second.sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), token)
  t.match((await second.ask('GET', '/principals')).json().principals, [{ id: 'alice', tools: { allow: ['x*'], deny: [] }, source: 'api' }])
})

t.test('a principal is not called by a step of a path, which no client could send again', async (t) => {
  const { sidecar, token, ask } = await startAdmin(t, 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }')
  for (const name of ['.', '..']) {
    const { port } = new URL(sidecar.adminUrl)
    // As it is: URL parsing would resolve it.
    const status = await new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      httpRequest({ host: '127.0.0.1', port, method: 'PUT', path: `/v1/principals/${name}`, headers }, (response) => { response.resume(); resolve(response.statusCode) })
        .on('error', reject).end(JSON.stringify({ credentials: {} }))
    })
    t.equal(status, 400)
    t.match((await ask('POST', '/sessions', { principal: name, agent: 'planner' })).json(), { error: { code: 'ERR_REQUEST_INVALID', details: [{ path: 'principal', message: /steps of a path/ }] } })
  }
  t.same(sidecar.principals.list(), [])
  t.equal((await ask('PUT', '/principals/...', { credentials: {} })).status, 200, 'a third dot is a name')
})
