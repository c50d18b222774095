import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js'
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js'
import t, { type Test } from 'tap'
import type { Config } from '../../src/config/config.js'
import { loadConfigText } from '../../src/config/load.js'
import { createBearerCheck } from '../../src/demo/bearer.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { call, errorCode, rpc } from '../helpers/call.js'
import { startLegacy, type LegacyOptions, type LegacyServer } from '../helpers/legacy-server.js'
import { eventually, freshToken } from '../helpers/peers.js'
import { startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const LIFETIME = 60
const NO_TIMEOUT = { timeout: 3_600_000 }

interface Stage { readonly server: LegacyServer, readonly sidecar: TestSidecar, readonly url: string, readonly config: Config, expire (): void }

/** A sidecar before a server of MCP 2024-11-05, with rotating tokens for alice and bob. */
async function start (t: Test, { base = '/sse', upstream = '', ...options }: Partial<LegacyOptions> & { base?: string, upstream?: string } = {}): Promise<Stage> {
  let ahead = 0
  const now = (): number => Date.now() + ahead
  const issuer = await createIssuer({ audience: 'urn:legacy', lifetime: LIFETIME, now })
  t.teardown(async () => await issuer.close())
  const check = createBearerCheck({ issuer: issuer.url, jwks: issuer.jwks, audience: () => 'urn:legacy', now })
  const server = await startLegacy(t, { check, ...options })
  const [alice, bob] = [await issuer.login('alice'), await issuer.login('bob')]
  const env = { A: alice.refresh_token, B: bob.refresh_token }
  const yaml = `
upstreams:
  old: { url: "${server.origin}${base}", credential: { type: refresh_token, issuer: "${issuer.url}", client_id: demo, resource: "urn:legacy" }${upstream} }
principals:
  alice: { credentials: { old: { refresh_token: { env: A } } } }
  bob: { credentials: { old: { refresh_token: { env: B } } } }
`
  const sidecar = await startSidecar(t, yaml, { env })
  const config = loadConfigText('listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }' + yaml, { env })
  return { server, sidecar, config, url: `${sidecar.proxyUrl}/old/mcp`, expire () { ahead += LIFETIME * 1000 } }
}

async function connect (t: Test, url: string, key: string): Promise<{ client: Client, endpoint: () => string }> {
  const client = new Client({ name: 'legacy', version: '1.0.0' })
  const headers = { 'X-Session-Key': key }
  const transport = new SSEClientTransport(new URL(url), { requestInit: { headers }, eventSourceInit: { fetch: async (target, init) => await fetch(target, { ...init, headers: { ...init.headers as Record<string, string>, ...headers } }) } })
  await client.connect(transport, NO_TIMEOUT)
  t.teardown(async () => await client.close())
  return { client, endpoint: () => String((transport as unknown as { _endpoint: URL })._endpoint) }
}

const textOf = (result: unknown): string | undefined => (result as { content: Array<{ text?: string }> }).content[0]?.text
const whoami = async (client: Client): Promise<string | undefined> => textOf(await client.callTool({ name: 'whoami' }, CallToolResultSchema, NO_TIMEOUT))

for (const [name, options] of Object.entries({
  'at the url of its stream': {},
  'at its root': { base: '/', below: '/sse' },
  'naming a whole URL': { endpoint: (origin: string) => `${origin}/messages` },
})) {
  t.test(`T2: an agent of 2024-11-05 → a server ${name}: calls, progress, and tokens that expire`, async (t) => {
    const { server, sidecar, url, expire } = await start(t, options)
    const { client, endpoint } = await connect(t, url + ('below' in options ? options.below : ''), await sidecar.keyFor('alice'))
    t.match(endpoint(), `${url}?mcp-valet-endpoint=`)
    t.notMatch(endpoint(), server.messages[0]?.session as string)
    t.equal(await whoami(client), 'alice')
    expire()
    t.equal(await whoami(client), 'alice', 'as one whose token has expired in the middle of the stream')
    const seen: number[] = []
    expire()
    t.equal(textOf(await client.callTool({ name: 'count' }, CallToolResultSchema, { ...NO_TIMEOUT, onprogress: ({ progress }) => { seen.push(progress) } })), 'counted')
    t.same(seen.slice(0, 2), [1, 2], 'the client itself may drop what comes in one piece with the result')
    t.equal(server.openStreams(), 1, 'all on one stream')
    t.same(sidecar.events.filter(({ event }) => event === 'failed' || event === 'denied'), [])
    await client.close()
    await eventually(() => server.openStreams() === 0, 'the end of the stream at the server')
  })
}

t.test('row 44: where to POST to is of use to its own agent alone', async (t) => {
  const { server, sidecar, url } = await start(t)
  const [one, other] = [await connect(t, url, await sidecar.keyFor('alice', 'one')), await connect(t, url, await sidecar.keyFor('bob', 'one'))]
  t.equal(await whoami(one.client), 'alice')
  t.equal(await whoami(other.client), 'bob')
  const arrived = server.messages.length
  for (const key of [await sidecar.keyFor('bob', 'one'), await sidecar.keyFor('alice', 'two')]) {
    const answer = await call(one.endpoint(), { key, body: rpc('tools/call', { name: 'whoami' }) })
    t.equal(answer.status, 404)
    t.equal(errorCode(answer), 'ERR_SESSION_MISMATCH')
  }
  const made = await call(`${url}?mcp-valet-endpoint=${Buffer.from('/messages?sessionId=x').toString('base64url')}`, { key: await sidecar.keyFor('alice', 'one') })
  t.equal(errorCode(made), 'ERR_SESSION_MISMATCH', 'nor can anybody make one up')
  t.equal(server.messages.length, arrived)
  t.equal((await call(one.endpoint(), { key: await sidecar.keyFor('alice', 'one'), body: rpc('ping') })).status, 202)
})

t.test('T1: an agent of 2024-11-05 sees and calls what it may, and hears of what it may not where it listens', async (t) => {
  const { server, sidecar, url } = await start(t, { upstream: ', tools: { deny: ["admin_*"] }' })
  const { client } = await connect(t, url, await sidecar.keyFor('alice'))
  t.same((await client.listTools(undefined, NO_TIMEOUT)).tools.map(({ name }) => name), ['whoami', 'count'])
  await Promise.all([1, 2, 3].map(async () => {
    const error = await client.callTool({ name: 'admin_drop' }, CallToolResultSchema, NO_TIMEOUT).catch((error: unknown) => error)
    t.match(error, { code: -32602, message: /Unknown tool: admin_drop/ })
  }))
  t.notOk(server.messages.some(({ body }) => body.includes('admin_drop')))
  t.equal(await whoami(client), 'alice')
})

for (const endpoint of ['http://127.0.0.1:1/messages', '//127.0.0.1:1/messages', 'http://[broken']) {
  t.test(`row 40: an agent is never sent to another origin: ${endpoint}`, async (t) => {
    const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`event: endpoint\ndata: ${endpoint}\n\n`) })
    const sidecar = await startSidecar(t, `
upstreams: { old: { url: "${upstream.origin}/sse" } }
principals: { alice: { credentials: { old: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
    t.type(await call(`${sidecar.proxyUrl}/old/mcp`, { method: 'GET', key: await sidecar.keyFor('alice') }).catch((error: unknown) => error), Error)
    t.match(sidecar.events.find(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_INVALID', reason: /^the endpoint event of its stream names/ })
  })
}

t.test('T1: an agent of 2024-11-05 hears of what it may not under a config that came while it listened', async (t) => {
  const { sidecar, url, config } = await start(t, { upstream: ', tools: { deny: ["admin_*"] }' })
  const { client } = await connect(t, url, await sidecar.keyFor('alice'))
  await sidecar.reload(async () => config)
  t.match(await client.callTool({ name: 'admin_drop' }, CallToolResultSchema, { timeout: 10_000 }).catch((error: unknown) => error), { code: -32602, message: /Unknown tool: admin_drop/ })
  t.equal(await whoami(client), 'alice')
})

const STRANGE: Record<string, [headers: Record<string, string>, stream: string]> = {
  'in an event behind the first one': [{}, 'event: endpoint\ndata: /messages\n\nevent: endpoint\ndata: http://127.0.0.1:1/\n\n'],
  'behind a byte order mark, in an event that is too long': [{}, Buffer.from(`\ufeffevent: endpoint\ndata: http://127.0.0.1:1/\nx: ${'a'.repeat(100_000)}\n\n`).toString('latin1')],
  'behind a byte order mark': [{}, Buffer.from('\ufeffevent: endpoint\ndata: http://127.0.0.1:1/\n\n').toString('latin1')],
  'behind a mark that was encoded twice': [{}, Buffer.from('\u00ef\u00bb\u00bfevent: endpoint\ndata: http://127.0.0.1:1/\n\n').toString('latin1')],
  'in an event behind a message': [{}, 'data: {}\n\nevent: endpoint\ndata: http://127.0.0.1:1/\n\n'],
  'of a type that only some clients read': [{ 'content-type': 'text/event-streams' }, 'event: endpoint\ndata: http://127.0.0.1:1/\n\n'],
  'with the origin of its server in a blob': [{}, 'event: endpoint\ndata: blob:ORIGIN/x\n\n'],
  'in a coding': [{ 'content-encoding': 'gzip' }, gzipSync('event: endpoint\ndata: http://127.0.0.1:1/\n\n').toString('latin1')],
}

for (const [what, [headers, stream]] of Object.entries(STRANGE)) {
  t.test(`row 40: a stream that names another origin ${what} is ended`, async (t) => {
    const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream', ...headers }).write(stream.replace('ORIGIN', upstream.origin), 'latin1') })
    const sidecar = await startSidecar(t, `
upstreams: { old: { url: "${upstream.origin}/sse" } }
principals: { alice: { credentials: { old: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
    const stays = sleep(10_000, 'open', { ref: false })
    const seen = await Promise.race([stays, call(`${sidecar.proxyUrl}/old/mcp`, { method: 'GET', key: await sidecar.keyFor('alice') }).then(({ status, body }) => `${status} ${body}`, () => 'cut')])
    t.match(seen, /^(?:cut|502 .*ERR_UPSTREAM_INVALID)/)
    t.match(sidecar.events.find(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_INVALID', reason: /stream/ })
  })
}

/** An agent that listens on its stream, and what came of it. */
async function listen (url: string, key: string): Promise<{ readonly came: () => string, readonly ended: () => boolean }> {
  let [came, ended] = ['', false]
  const response = await fetch(url, { headers: { 'X-Session-Key': key, accept: 'text/event-stream' } })
  void (async () => {
    for await (const piece of response.body as ReadableStream<Uint8Array>) came += Buffer.from(piece).toString()
    ended = true
  })().catch(() => { came += 'cut' })
  await eventually(() => came.includes('endpoint'), 'the endpoint')
  return { came: () => came, ended: () => ended }
}

const ALL = { allow: ['*'], deny: [] }
const FEW = { allow: ['*'], deny: ['admin_*'] }

t.test('T1: streams end once other rules on tools apply to them than those they began under, and no others do', async (t) => {
  const { server, sidecar, url, config } = await start(t)
  const [alice, bob, narrow] = [await sidecar.keyFor('alice'), await sidecar.keyFor('bob'), await sidecar.keyFor('alice', 'narrow', FEW)]
  const streams = [await listen(url, alice), await listen(url, narrow), await listen(url, bob)]
  const states = (): boolean[] => streams.map(({ ended }) => ended())
  await sidecar.principals.put('alice', { credentials: {}, tools: ALL })
  await sidecar.reload(async () => config)
  await sidecar.principals.put('bob', { credentials: {} })
  t.same(states(), [false, false, false], 'these rules say the same')
  await sidecar.principals.put('alice', { credentials: {}, tools: FEW })
  await eventually(() => streams[0]?.ended() === true && streams[1]?.ended() === true, 'the end of both of her streams')
  t.same(states(), [true, true, false])
  t.notMatch(streams.map(({ came }) => came()).join(''), 'cut', 'as a server ends them')
  await eventually(() => server.openStreams() === 1, 'their end at the server')

  const { client } = await connect(t, url, alice)
  t.same((await client.listTools(undefined, { timeout: 10_000 })).tools.map(({ name }) => name), ['whoami', 'count'], 'a new one has the new rules')
  const old = config.upstreams.get('old') as NonNullable<ReturnType<Config['upstreams']['get']>>
  await sidecar.reload(async () => ({ ...config, upstreams: new Map([['old', { ...old, tools: FEW }]]) }))
  await eventually(() => streams[2]?.ended() === true, 'the end of his, too, with other rules of the upstream')
})
