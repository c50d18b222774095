import { once } from 'node:events'
import t from 'tap'
import { startAdmin } from '../helpers/admin-api.js'
import { call, errorCode } from '../helpers/call.js'
import { testClock } from '../helpers/clock.js'
import { drain, freshToken, open, piece } from '../helpers/peers.js'
import { startUpstream } from '../helpers/upstream.js'

const config = (origin: string): string => `
upstreams: { tools: { url: "${origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } } }
sessions: [{ principal: alice, agent: configured, key: { env: KEY } }]
`
const KEY = 'vk_' + 'k'.repeat(43)

t.test('P3: a session that the API has made can call until the API revokes it', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, ask, keyFor, env } = await startAdmin(t, config(upstream.origin), { env: { ALICE: freshToken(), KEY } })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const { id, key } = await keyFor('alice', { agent: 'late-comer', ttl: '1h' })
  t.match(key, /^vk_[\w-]{43}$/)
  t.equal((await call(url, { key })).status, 200)
  t.equal(upstream.seen.at(-1)?.headers['x-api-key'], env.ALICE)

  const { sessions } = (await ask('GET', '/sessions?principal=alice')).json()
  t.match(sessions.find((session: { id: string }) => session.id === id), { principal: 'alice', agent: 'late-comer', tools: null, expires_at: /^\d{4}-/, source: 'api' })
  t.notMatch(JSON.stringify(sessions), key)

  t.equal((await ask('DELETE', `/sessions/${id}`)).status, 204)
  const answer = await call(url, { key })
  t.same([answer.status, errorCode(answer)], [401, 'ERR_SESSION_UNKNOWN'])
  t.match((await ask('DELETE', `/sessions/${id}`)).json(), { error: { code: 'ERR_NOT_FOUND' } })
  t.equal(upstream.seen.length, 1)
})

t.test('P3: an open stream ends as its session is revoked, and its upstream is let go', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') })
  const { sidecar, ask, keyFor } = await startAdmin(t, config(upstream.origin), { env: { ALICE: freshToken(), KEY } })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const [revoked, kept] = await Promise.all([keyFor('alice'), keyFor('alice')])
  const streams = await Promise.all([revoked, kept].map(async ({ key }) => {
    const response = await open(url, { method: 'GET', key }).head
    t.equal(await piece(response), 'data: 1\n\n')
    return response
  }))
  const connection = upstream.server
  const gone = new Promise((resolve) => connection.getConnections((_error, before) => {
    const look = (): void => { connection.getConnections((_error, now) => { now < before ? resolve(undefined) : setTimeout(look, 5) }) }
    look()
  }))
  const ended = drain(streams[0] as NonNullable<typeof streams[0]>)
  t.equal((await ask('DELETE', `/sessions/${revoked.id}`)).status, 204)
  t.notOk((await ended).complete, 'it does not look like a whole answer')
  await gone
  t.notOk(streams[1]?.destroyed, 'the other session\'s goes on')
  streams[1]?.destroy()
})

t.test('P3: a session of the config can be revoked as well, and stays so', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, ask } = await startAdmin(t, config(upstream.origin), { env: { ALICE: freshToken(), KEY } })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  t.equal((await call(url, { key: KEY })).status, 200)
  const { sessions } = (await ask('GET', '/sessions')).json()
  t.match(sessions, [{ agent: 'configured', source: 'config', expires_at: null }])
  t.equal((await ask('DELETE', `/sessions/${sessions[0].id}`)).status, 204)
  t.equal((await call(url, { key: KEY })).status, 401)
})

t.test('P1: a session ends with its ttl, in seconds or as a duration', async (t) => {
  const clock = testClock()
  const upstream = await startUpstream(t)
  const { sidecar, keyFor } = await startAdmin(t, config(upstream.origin), { env: { ALICE: freshToken(), KEY }, clock })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const keys = [(await keyFor('alice', { ttl: 3600 })).key, (await keyFor('alice', { ttl: '60m' })).key]
  for (const key of keys) t.equal((await call(url, { key })).status, 200)
  clock.jump(3_600_001)
  for (const key of keys) t.equal(errorCode(await call(url, { key })), 'ERR_SESSION_EXPIRED')
})

t.test('P3: a principal that nobody knows gets no session', async (t) => {
  const { sidecar, ask } = await startAdmin(t, config('http://127.0.0.1:1'), { env: { ALICE: freshToken(), KEY } })
  for (const principal of ['mallory', '__proto__', 'constructor']) {
    const answer = await ask('POST', '/sessions', { principal, agent: 'x' })
    t.same([answer.status, answer.json().error.code], [404, 'ERR_PRINCIPAL_UNKNOWN'], principal)
  }
  t.equal((await sidecar.sessions.list()).length, 1)
})

t.test('P3: sessions outlive the process, revoked ones do not come back', async (t) => {
  const upstream = await startUpstream(t)
  const state = `state: { driver: lmdb, path: "${t.testdir({})}/state" }\n`
  const env = { ALICE: freshToken(), KEY }
  const first = await startAdmin(t, state + config(upstream.origin), { env })
  const [kept, revoked] = [await first.keyFor('alice', { tools: ['a*'], ttl: '1d' }), await first.keyFor('alice')]
  await first.ask('DELETE', `/sessions/${revoked.id}`)
  await first.sidecar.close()
  const second = await startAdmin(t, state + config(upstream.origin), { env })
  const url = `${second.sidecar.proxyUrl}/tools/mcp`
  t.same([(await call(url, { key: kept.key })).status, (await call(url, { key: revoked.key })).status], [200, 401])
  const { sessions } = (await second.ask('GET', '/sessions')).json()
  t.match(sessions.find(({ id }: { id: string }) => id === kept.id), { tools: { allow: ['a*'], deny: [] }, source: 'api' })
})

t.test('row 53: thousands of sessions are listed in pages, each of them once', async (t) => {
  const { sidecar, ask } = await startAdmin(t, config('http://127.0.0.1:1'), { env: { ALICE: freshToken(), KEY } })
  const made = 5_000
  for (let i = 0; i < made; i++) await sidecar.sessions.create({ principal: 'alice', agent: `agent-${i}` })
  const ids = new Set<string>()
  let cursor = ''
  let pages = 0
  for (; ; pages++) {
    const { sessions, next_cursor: next } = (await ask('GET', `/sessions?limit=1000${cursor}`)).json()
    for (const { id } of sessions) ids.add(id)
    if (next === null) break
    cursor = `&cursor=${next}`
  }
  t.same([ids.size, pages], [made + 1, 5])
})

t.test('P3: the sidecar closes while somebody holds a connection to the API', async (t) => {
  const { sidecar } = await startAdmin(t, config('http://127.0.0.1:1'), { env: { ALICE: freshToken(), KEY } })
  const { request } = open(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET' })
  const [response] = await once(request, 'response')
  response.resume()
  await t.resolves(sidecar.close())
})
