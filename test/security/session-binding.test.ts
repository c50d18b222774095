import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { call, errorCode, rpc, type CallAnswer } from '../helpers/call.js'
import { freshToken } from '../helpers/peers.js'
import { metric, startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { startUpstream, type TestUpstream } from '../helpers/upstream.js'

/** A server that opens a session for each `initialize`, and answers 404 to one that it does not know. */
async function startSessions (t: Test): Promise<TestUpstream & { readonly ids: string[] }> {
  const ids: string[] = []
  const upstream = await startUpstream(t, ({ body, headers, method }, response) => {
    const opens = body.includes('"initialize"')
    const id = opens ? `session ${ids.push('')} ~ with ! all "visible" characters` : String(headers['mcp-session-id'])
    if (opens) ids[ids.length - 1] = id
    const status = ids.includes(id) ? 200 : 404
    response.writeHead(status, { 'content-type': 'application/json', 'mcp-session-id': id }).end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { method } }))
  })
  return { ...upstream, ids }
}

const CONFIG = (origin: string, more = ''): string => `
upstreams:
  tools: { url: "${origin}/mcp", anonymous: [no_principal] }
  twin: { url: "${origin}/mcp" }
callers: { relay_authorization: true }
principals:
  alice: { credentials: { tools: { type: api_token, token: { env: A } }, twin: { type: api_token, token: { env: A } } } }
  bob: { credentials: { tools: { type: api_token, token: { env: B } } } }
${more}`

const env = (): Record<string, string> => ({ A: freshToken(), B: freshToken() })

interface Scene { readonly upstream: Awaited<ReturnType<typeof startSessions>>, readonly sidecar: TestSidecar, readonly url: string, readonly key: string }

async function start (t: Test): Promise<Scene> {
  const upstream = await startSessions(t)
  const sidecar = await startSidecar(t, CONFIG(upstream.origin), { env: env() })
  return { upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice', 'planner') }
}

async function opened (url: string, key?: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await call(url, { ...(key === undefined ? {} : { key }), headers, body: rpc('initialize') })
  return String(answer.headers['mcp-session-id'])
}

async function using (url: string, session: string, key?: string, more: { method?: string, headers?: Record<string, string> } = {}): Promise<CallAnswer> {
  return await call(url, { ...(key === undefined ? {} : { key }), ...more, headers: { 'mcp-session-id': session, ...more.headers }, ...(more.method === undefined ? { body: rpc('tools/list', {}, 'mine') } : {}) })
}

t.test('row 44: an agent uses the session that it opened, and the server sees its own id', async (t) => {
  const { upstream, sidecar, url, key } = await start(t)
  const shown = await opened(url, key)
  t.match(shown, /^[\x21-\x7e]+$/, 'visible ASCII')
  t.notMatch(Buffer.from(shown, 'base64url').toString('latin1'), 'session', 'of the server\'s own id nothing is shown')
  for (const more of [{}, { method: 'GET' }, { method: 'DELETE' }]) {
    const answer = await using(url, shown, key, more)
    t.equal(answer.status, 200)
    t.equal(answer.headers['mcp-session-id'], shown, 'it stays the same for the agent')
    t.equal(upstream.seen.at(-1)?.headers['mcp-session-id'], upstream.ids[0])
  }
  t.equal((await using(url, shown, await sidecar.keyFor('alice', 'planner'))).status, 200, 'another session key of this agent may')
  upstream.ids.length = 0
  t.equal((await using(url, shown, key)).status, 404, 'and that the server has forgotten it is the server\'s to say')
  t.notMatch((await using(url, shown, key)).body, 'ERR_SESSION_MISMATCH')
})

t.test('row 44: a session id is of no use to anybody else, nor in another place', async (t) => {
  const { upstream, sidecar, url, key } = await start(t)
  const shown = await opened(url, key)
  const anonymous = await opened(url)
  const relayed = await opened(url, undefined, { authorization: 'Bearer own' })
  const bob = await sidecar.keyFor('bob', 'planner')
  const twin = `${sidecar.proxyUrl}/twin/mcp`
  const before = upstream.seen.length
  const refused = {
    'another principal': await using(url, shown, bob),
    'another agent of the principal': await using(url, shown, await sidecar.keyFor('alice', 'writer')),
    'a caller without a principal': await using(url, shown),
    'a relayed caller': await using(url, shown, undefined, { headers: { authorization: 'Bearer own' } }),
    'the same agent at another upstream': await using(twin, shown, key),
    'an agent, with the session of nobody': await using(url, anonymous, key),
    'an agent, with that of a relayed caller': await using(url, relayed, key),
    'its own agent, with the id that the server knows': await using(url, upstream.ids[0] as string, key),
    'without an end': await using(url, shown.slice(0, -2), key),
    'of nothing': await using(url, '', key),
    changed: await using(url, (shown.startsWith('A') ? 'B' : 'A') + shown.slice(1), key),
    twice: await using(url, shown + shown, key),
  }
  for (const [who, answer] of Object.entries(refused)) {
    t.equal(answer.status, 404, who)
    t.equal(errorCode(answer), 'ERR_SESSION_MISMATCH', who)
    t.equal((answer.json() as { id: unknown }).id, 'mine')
  }
  for (const method of ['GET', 'DELETE']) t.equal(errorCode(await using(url, shown, bob, { method })), 'ERR_SESSION_MISMATCH', method)
  t.equal(upstream.seen.length, before, 'none of it went to the server')
  t.match(sidecar.events.find(({ event }) => event === 'denied'), { principal: 'bob', agent: 'planner', code: 'ERR_SESSION_MISMATCH' })
  t.ok(metric(await sidecar.metrics(), 'mcp_valet_denied_total{reason="ERR_SESSION_MISMATCH"}') >= 14)
  t.equal((await using(url, anonymous)).status, 200, 'those without a principal share theirs')
  t.equal((await using(url, relayed, undefined, { headers: { authorization: 'Bearer next' } })).status, 200)
})

t.test('row 35: no other spelling brings a session id to the server', async (t) => {
  const { upstream, url, key } = await start(t)
  await opened(url, key)
  await call(url, { key, headers: { mcp_session_id: upstream.ids[0] as string, 'mcp-session_id': upstream.ids[0] as string } })
  const names = upstream.seen.at(-1)?.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase().replaceAll('_', '-'))
  t.notOk(names?.includes('mcp-session-id'))
})

t.test('row 44: every sidecar with the same state key knows whose a session is; after a change of keys the former is known too', async (t) => {
  const upstream = await startSessions(t)
  const folder = t.testdir()
  const [one, other] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')]
  const replica = async (state: string): Promise<{ url: string, key: string }> => {
    const sidecar = await startSidecar(t, CONFIG(upstream.origin, `state: { driver: lmdb, path: "${join(folder, randomBytes(4).toString('hex'))}", ${state} }`), { env: { ...env(), ONE: one, OTHER: other } })
    return { url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice', 'planner') }
  }
  const first = await replica('key: { env: ONE }')
  const shown = await opened(first.url, first.key)
  const use = async (state: string): Promise<number> => {
    const { url, key } = await replica(state)
    return (await using(url, shown, key)).status
  }
  t.equal(await use('key: { env: ONE }'), 200)
  t.equal(await use('key: { env: OTHER }, previous_keys: [{ env: ONE }]'), 200)
  t.equal(await use('key: { env: OTHER }'), 404)
})

t.test('T2: a server without sessions (2026-07-28) gets none, and one that changes its id is followed', async (t) => {
  let next: string | undefined
  const upstream = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...(next === undefined ? {} : { 'mcp-session-id': next }) }).end('{"jsonrpc":"2.0","id":1,"result":{}}')
  })
  const sidecar = await startSidecar(t, CONFIG(upstream.origin), { env: env() })
  const [url, key] = [`${sidecar.proxyUrl}/tools/mcp`, await sidecar.keyFor('alice')]
  const without = await call(url, { key })
  t.equal(without.headers['mcp-session-id'], undefined)
  next = 'one'
  const one = await opened(url, key)
  next = 'two'
  const changed = await using(url, one, key)
  t.equal(upstream.seen.at(-1)?.headers['mcp-session-id'], 'one')
  const two = String(changed.headers['mcp-session-id'])
  t.not(two, one)
  await using(url, two, key)
  t.equal(upstream.seen.at(-1)?.headers['mcp-session-id'], 'two')
})
