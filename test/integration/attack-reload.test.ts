import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { keepUp } from '../../src/cli/reloading.js'
import { systemClock } from '../../src/clock.js'
import type { Config } from '../../src/config/config.js'
import { loadConfigText } from '../../src/config/load.js'
import { call, errorCode, rpc } from '../helpers/call.js'
import { arrivalsAt, door, drain, eventually, freshToken, open, piece } from '../helpers/peers.js'
import { connectTo, countAnswers, requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { bearerOf } from '../helpers/tokens.js'
import { answerJson, startUpstream, type TestUpstream } from '../helpers/upstream.js'

const LISTEN = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n'

t.test('row 52: the session key of a principal that is taken out of the config is good again when it comes back, there or elsewhere', async (t) => {
  const upstream = await startUpstream(t)
  const env = { ALICE: freshToken(), BOB: freshToken(), KEY: mintSessionKey().reveal(), OTHER: mintSessionKey().reveal() }
  const state = `state: { driver: lmdb, path: "${join(t.testdir(), 'state')}" }\n`
  const both = `upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } }, bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }, { principal: bob, agent: planner, key: { env: OTHER } }]
`
  const bobAlone = `upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } } }
sessions: [{ principal: bob, agent: planner, key: { env: KEY } }]
`
  const sidecar = await startSidecar(t, state + both, { env })
  const to = async (yaml: string): Promise<void> => await sidecar.reload(async () => loadConfigText(LISTEN + state + yaml, { env }))
  const url = `${sidecar.proxyUrl}/tools/mcp`
  t.equal((await call(url, { key: env.KEY })).status, 200)
  await to(bobAlone)
  t.equal((await call(url, { key: env.KEY })).status, 200, 'its key is another principal\'s now')
  t.equal(bearerOf(upstream.seen.at(-1)), env.BOB)
  await to(both)
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), env.ALICE)
  t.equal((await call(url, { key: env.OTHER })).status, 200)
  t.notOk(sidecar.events.some(({ event }) => event === 'session_revoked'), 'nobody has revoked anything')
})

/** A sidecar before a server whose GETs are streams without an end, and whose POSTs wait for `gate` where there is one. */
async function startStreams (t: Test, gate?: Promise<void>): Promise<{ sidecar: TestSidecar, url: string, key: string, config: () => Config, again: () => Promise<void>, upstream: TestUpstream }> {
  const upstream = await startUpstream(t, (seen, response) => {
    if (seen.method === 'GET') return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    if (gate === undefined) answerJson(seen, response)
    else void gate.then(() => answerJson(seen, response))
  })
  const env = { ALICE: freshToken() }
  const yaml = `upstreams: { tools: { url: "${upstream.origin}/mcp" } }\nprincipals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } } }\n`
  const sidecar = await startSidecar(t, yaml, { env })
  const config = (): Config => loadConfigText(LISTEN + 'state: { driver: memory }\n' + yaml, { env })
  const again = async (): Promise<void> => await sidecar.reload(async () => config())
  return { sidecar, config, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice'), again, upstream }
}

t.test('row 52: an open stream keeps the config that it began with, and none of those that came after it', async (t) => {
  const { url, key, again, upstream } = await startStreams(t)
  const connections = new Set<Socket>()
  // Or they would go by themselves.
  upstream.server.keepAliveTimeout = 600_000
  upstream.server.on('connection', (socket) => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
  })
  const stream = await open(url, { method: 'GET', key }).head
  t.match(await piece(stream), 'data: 1')
  for (let n = 0; n < 5; n++) {
    t.equal((await call(url, { key })).status, 200)
    await again()
  }
  await eventually(() => connections.size === 2, 'the end of every pool but that of the stream, which had another call')
  t.equal(stream.destroyed, false)
})

const KEEP = 'Connection: keep-alive'
const ping = (key: string, id: number, ...more: string[]): string => requestText('POST /tools/mcp HTTP/1.1', ['Host: 127.0.0.1', `X-Session-Key: ${key}`, 'Content-Type: application/json', `Content-Length: ${rpc('ping', {}, id).length}`, ...more], rpc('ping', {}, id))

t.test('row 52: a call that waits in line on its connection is not lost where a config changes', async (t) => {
  const gate = door()
  const { url, key, again, upstream } = await startStreams(t, gate.opened)
  const answers = sendRaw(new URL(url).origin, ping(key, 1, KEEP) + ping(key, 2, KEEP) + ping(key, 3))
  await eventually(() => upstream.seen.length === 1)
  await again()
  gate.open()
  t.equal((await answers).wire.match(/HTTP\/1\.1 200 /g)?.length, 3)
})

t.test('row 52: nor is one that came after one change and waits while there is another', async (t) => {
  const gate = door()
  const { url, key, again, upstream } = await startStreams(t, gate.opened)
  const arrived = arrivalsAt(t, '/tools/mcp')
  const agent = await connectTo(new URL(url).origin)
  let wire = ''
  agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') })
  agent.write(ping(key, 1, KEEP))
  await eventually(() => upstream.seen.length === 1)
  await again()
  agent.write(ping(key, 2, KEEP))
  await eventually(() => arrived() === 2)
  await again()
  await new Promise((resolve) => { setTimeout(resolve, 50) })
  gate.open()
  await eventually(() => countAnswers(wire) === 2)
  t.equal(wire.match(/HTTP\/1\.1 200 /g)?.length, 2)
  agent.destroy()
})

t.test('row 32: an agent that leaves with calls in line has left each of them', async (t) => {
  const gate = door()
  const { url, key, sidecar, upstream } = await startStreams(t, gate.opened)
  const arrived = arrivalsAt(t, '/tools/mcp')
  const agent = await connectTo(new URL(url).origin)
  agent.write(ping(key, 1, KEEP).repeat(15))
  await eventually(() => upstream.seen.length === 1 && arrived() === 15)
  agent.destroy()
  const left = (): number => sidecar.events.filter((event) => event.event === 'call' && event.outcome === 'aborted').length
  await eventually(() => left() === 15)
  gate.open()
  t.equal(upstream.seen.length, 1)
})

/** A sidecar, and what has it take up another server under the same name. */
async function startMoving (t: Test, before: TestUpstream, after: TestUpstream): Promise<{ url: string, key: string, env: Record<string, string>, move: () => Promise<void> }> {
  const env = { OLD: freshToken(), NEW: freshToken(), KEY: mintSessionKey().reveal() }
  const text = ({ origin }: TestUpstream, token: string): string => `state: { driver: memory }
upstreams: { tools: { url: "${origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ${token} } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }]
`
  const sidecar = await startSidecar(t, text(before, 'OLD'), { env })
  return { url: `${sidecar.proxyUrl}/tools/mcp`, key: env.KEY, env, move: async () => await sidecar.reload(async () => loadConfigText(LISTEN + text(after, 'NEW'), { env })) }
}

t.test('row 52: the token for a new server does not reach the one before it by calls that were under way', async (t) => {
  const gate = door()
  const before = await startUpstream(t, (_seen, response) => {
    void gate.opened.then(() => response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end())
  })
  const after = await startUpstream(t)
  const { url, key, env, move } = await startMoving(t, before, after)
  const arrived = arrivalsAt(t, '/tools/mcp')
  const refused = call(url, { key })
  await eventually(() => before.seen.length === 1)
  const late = httpRequest(url, { method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json', 'content-length': rpc('ping').length } })
  const head = new Promise<IncomingMessage>((resolve, reject) => { late.once('response', resolve).once('error', reject) })
  late.write('{')
  await eventually(() => arrived() === 2)
  await move()
  gate.open()
  t.equal(errorCode(await refused), 'ERR_CREDENTIAL_UNAVAILABLE', 'one that was refused there')
  late.end(rpc('ping').slice(1))
  const answer = await head
  t.equal(answer.statusCode, 503)
  t.match((await drain(answer)).text, 'ERR_CREDENTIAL_UNAVAILABLE', 'one whose body came late')
  t.same(before.seen.map(bearerOf), [env.OLD])
  t.equal((await call(url, { key })).status, 200)
  t.same(after.seen.map(bearerOf), [env.NEW])
})

t.test('row 44: what a server named is not sent to the one that takes its place', async (t) => {
  const before = await startUpstream(t, (seen, response) => {
    if (seen.method === 'GET') response.writeHead(200, { 'content-type': 'text/event-stream' }).write('event: endpoint\ndata: /wipe?all=1\n\n')
    else response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's-1' }).end('{}')
  })
  const after = await startUpstream(t)
  const { url, key, move } = await startMoving(t, before, after)
  const id = (await call(url, { key })).headers['mcp-session-id'] as string
  const stream = open(url, { method: 'GET', key })
  const endpoint = /(?<=data: ).+/.exec(await piece(await stream.head))?.[0] as string
  const ask = async (): Promise<Array<string | undefined>> => [
    errorCode(await call(url, { key, headers: { 'mcp-session-id': id } })),
    errorCode(await call(new URL(endpoint, url).href, { key })),
  ]
  t.same(await ask(), [undefined, undefined])
  t.equal(before.seen.at(-1)?.url, '/wipe?all=1')
  await move()
  t.same(await ask(), ['ERR_SESSION_MISMATCH', 'ERR_SESSION_MISMATCH'])
  t.same(after.seen, [])
  stream.request.destroy()
})

t.test('row 52: a config that is read while it stops is not taken up', async (t) => {
  const { sidecar, config } = await startStreams(t)
  const gate = door()
  const reloading = sidecar.reload(async () => {
    await gate.opened
    return config()
  }).catch((error: unknown) => error)
  await new Promise((resolve) => { setImmediate(resolve) })
  await sidecar.close()
  gate.open()
  t.match(await reloading, { name: 'ReloadError' })
  t.equal(sidecar.events.at(-1)?.event, 'reload_refused')
})

t.test('row 51: it stops at once, whatever a change of its files waits for', async (t) => {
  const { sidecar, config } = await startStreams(t)
  const stop = new AbortController()
  const file = join(t.testdir({ 'valet.yaml': '' }), 'valet.yaml')
  const begun = door()
  const kept = keepUp({
    sidecar,
    file,
    config: config(),
    async load () {
      begun.open()
      return await new Promise(() => {})
    },
    clock: systemClock,
    stop: stop.signal,
    onAsked () {},
    everyMs: 5,
    // It was changed while the sidecar started, too.
    known: new Map([[file, 'another']]),
  })
  await begun.opened
  stop.abort()
  await kept
  t.pass('it has stopped')
})
