import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { Client, StreamableHTTPClientTransport, type ClientOptions } from '@modelcontextprotocol/client'
import t, { type Test } from 'tap'
import { createIssuer, type Issuer } from '../../../src/demo/issuer.js'
import { createDemoMcpServer, type DemoMcpServer, type DemoMcpServerOptions } from '../../../src/demo/mcp-server.js'
import { Secret } from '../../../src/secret.js'

interface Peers { issuer: Issuer, mcp: DemoMcpServer }

async function start (t: Test, options: Partial<DemoMcpServerOptions> = {}): Promise<Peers> {
  const issuer = await createIssuer({ audience: () => mcp.audience })
  t.teardown(async () => await issuer.close())
  const mcp: DemoMcpServer = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwksUri, ...options })
  t.teardown(async () => await mcp.close())
  return { issuer, mcp }
}

function credential (token: string): Record<string, string> {
  return { Authorization: `Bearer ${token}`, 'X-API-KEY': token }
}

async function agent (t: Test, mcp: DemoMcpServer, token: string, options: ClientOptions = {}) {
  const client = new Client({ name: 'test', version: '1.0.0' }, options)
  const transport = new StreamableHTTPClientTransport(new URL(mcp.url), { requestInit: { headers: credential(token) } })
  await client.connect(transport)
  t.teardown(async () => await client.close())
  return { client, transport }
}

const MODERN: ClientOptions = { versionNegotiation: { mode: { pin: '2026-07-28' } } }

function post (mcp: DemoMcpServer, headers: Record<string, string>, body: unknown = initialize()) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const own = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }
  return fetch(mcp.url, { method: 'POST', headers: { ...own, ...headers }, body: text })
}

function initialize () {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1.0.0' } }
  return { jsonrpc: '2.0', id: 1, method: 'initialize', params }
}

t.test('every request needs the same good token in both headers', async (t) => {
  const { issuer, mcp } = await start(t)
  const other = await createIssuer({ audience: mcp.audience })
  t.teardown(async () => await other.close())
  const good = (await issuer.login('alice')).access_token
  const past = Math.floor(Date.now() / 1000) - 60

  const cases: Record<string, Record<string, string>> = {
    'no credential': {},
    'no X-API-KEY': { Authorization: `Bearer ${good}` },
    'X-API-KEY alone': { 'X-API-KEY': good },
    'another token in X-API-KEY': { ...credential(good), 'X-API-KEY': await issuer.mint('alice') },
    'another scheme': { ...credential(good), Authorization: `Basic ${good}` },
    'an expired token': credential(await issuer.mint('alice', { exp: past })),
    'a token for another audience': credential(await issuer.mint('alice', { aud: 'http://other.example' })),
    'a token that names another issuer': credential(await issuer.mint('alice', { iss: other.url })),
    'a token that another issuer signed': credential(await other.mint('alice', { iss: issuer.url })),
    'an opaque token': credential(new Secret(good).fingerprint),
  }
  for (const [name, headers] of Object.entries(cases)) {
    for (const method of ['POST', 'GET', 'DELETE']) {
      const res = await fetch(mcp.url, { method, headers })
      t.equal(res.status, 401, `${method}: ${name}`)
      t.match(res.headers.get('www-authenticate'), /^Bearer error="invalid_token", .*resource_metadata="http:/)
      t.match(await res.json(), { error: 'invalid_token', error_description: String })
    }
  }
  t.equal((await post(mcp, credential(good))).status, 200)
})

t.test('a refusal says when the token has expired', async (t) => {
  let now = Date.now()
  const { issuer, mcp } = await start(t, { now: () => now })
  const { access_token: token } = await issuer.login('alice')
  t.equal((await post(mcp, credential(token))).status, 200)
  now += 16_000
  t.match(await (await post(mcp, credential(token))).json(), { error_description: 'the token has expired' })
})

t.test('a repeated Authorization header is refused', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  const { hostname, port, host } = new URL(mcp.url)
  const socket = connectSocket(Number(port), hostname)
  const line = `Authorization: Bearer ${token}\r\n`
  socket.write(`GET /mcp HTTP/1.1\r\nHost: ${host}\r\n${line}${line}X-API-KEY: ${token}\r\nConnection: close\r\n\r\n`)
  const [head] = await once(socket, 'data')
  t.match(String(head), /^HTTP\/1\.1 401 /)
  socket.destroy()
})

t.test('a 401 does not wait for the body', async (t) => {
  const { mcp } = await start(t)
  const { hostname, port, host } = new URL(mcp.url)
  const socket = connectSocket(Number(port), hostname)
  socket.write(`POST /mcp HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10000000\r\n\r\n`)
  const [head] = await once(socket, 'data')
  t.match(String(head), /^HTTP\/1\.1 401 /)
  socket.destroy()
})

t.test('the resource metadata leads to the issuer (RFC 9728)', async (t) => {
  const { issuer, mcp } = await start(t)
  const res = await fetch(mcp.url)
  const [, url = ''] = /resource_metadata="([^"]+)"/.exec(res.headers.get('www-authenticate') ?? '') ?? []
  const metadata = await (await fetch(url)).json()
  t.match(metadata, { resource: mcp.url, authorization_servers: [issuer.url] })

  const base = new URL(mcp.url).origin
  t.same(await (await fetch(`${base}/.well-known/oauth-protected-resource`)).json(), metadata)
  t.equal((await fetch(`${base}/healthz`)).status, 200)
  t.equal((await fetch(`${base}/elsewhere`)).status, 404)
})

t.test('a server behind another name says that name, and an audience may differ from it', async (t) => {
  const issuer = await createIssuer({ audience: 'urn:demo' })
  t.teardown(async () => await issuer.close())
  const mcp = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwks, audience: 'urn:demo', url: 'http://mcp-server:8001/mcp' })
  t.teardown(async () => await mcp.close())
  t.match(mcp, { url: 'http://mcp-server:8001/mcp', audience: 'urn:demo' })
})

for (const [era, options] of Object.entries({ 'with sessions': {}, 'stateless, 2026-07-28': MODERN })) {
  t.test(`the official client works: ${era}`, async (t) => {
    const { issuer, mcp } = await start(t)
    const { access_token: token } = await issuer.login('alice')
    const { client } = await agent(t, mcp, token, options)
    const { tools } = await client.listTools()
    t.same(tools.map(({ name }) => name), ['whoami', 'add', 'search_notes', 'slow_count'])

    const whoami = await client.callTool({ name: 'whoami' })
    t.match(whoami.structuredContent, { subject: 'alice', fingerprint: new Secret(token).fingerprint })
    t.ok((whoami.structuredContent as any).remaining_seconds > 0)

    const sum = await client.callTool({ name: 'add', arguments: { a: 40, b: 2 } })
    t.match(sum.content, [{ text: '42' }])
    const notes = await client.callTool({ name: 'search_notes', arguments: { query: 'REPLAY' } })
    t.match(JSON.parse((notes.content as any)[0].text), [{ title: 'Replay' }])
    t.match(await client.callTool({ name: 'add', arguments: { a: 'one' } }).catch((error) => ({ isError: true, error })), { isError: true })
  })

  t.test(`progress comes while the call runs: ${era}`, async (t) => {
    const { issuer, mcp } = await start(t)
    const { client } = await agent(t, mcp, (await issuer.login('alice')).access_token, options)
    const seen: number[] = []
    const onprogress = ({ progress }: { progress: number }) => { seen.push(progress) }
    const slow = { name: 'slow_count', arguments: { n: 3, interval_ms: 1 } }
    t.match(await client.callTool(slow, { onprogress }), { content: [{ text: 'counted to 3' }] })
    t.same(seen, [1, 2, 3])
    t.match(await client.callTool(slow), { content: [{ text: 'counted to 3' }] }, 'and it is not sent to who did not ask')
  })
}

t.test('a session: opened, listed, ended by DELETE', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  const { client, transport } = await agent(t, mcp, token)
  const id = transport.sessionId as string
  t.equal(mcp.sessions, 1)
  t.equal(typeof id, 'string')

  const call = { jsonrpc: '2.0', id: 2, method: 'tools/list' }
  const session = { 'Mcp-Session-Id': id }
  t.equal((await post(mcp, { ...credential(token), ...session }, call)).status, 200)
  t.equal((await post(mcp, session, call)).status, 401, 'a session is no credential')
  const bob = (await issuer.login('bob')).access_token
  t.equal((await post(mcp, { ...credential(bob), ...session }, call)).status, 404, 'another subject\'s session')
  t.equal((await post(mcp, credential(token), call)).status, 400, 'no session')

  await transport.terminateSession()
  t.equal(mcp.sessions, 0)
  t.equal((await post(mcp, { ...credential(token), ...session }, call)).status, 404)
  await client.close()
})

t.test('a stream is resumed where it stopped', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  const opened = await post(mcp, credential(token))
  await opened.text()
  const session = {
    ...credential(token),
    'Mcp-Session-Id': opened.headers.get('mcp-session-id') as string,
    'MCP-Protocol-Version': '2025-11-25',
  }
  const params = { name: 'slow_count', arguments: { n: 3, interval_ms: 5 }, _meta: { progressToken: 'p' } }
  const running = await post(mcp, session, { jsonrpc: '2.0', id: 2, method: 'tools/call', params })
  const reader = running.body!.getReader()
  const [, first] = /id: (\S+)/.exec(new TextDecoder().decode((await reader.read()).value)) ?? []
  await reader.cancel()

  const resume = async (id = '') => await fetch(mcp.url, { headers: { ...session, Accept: 'text/event-stream', 'Last-Event-ID': id } })
  let rest = await resume(first)
  // Until the server has seen the other connection close, the stream is not free.
  while (rest.status === 409) rest = await resume(first)
  let text = ''
  for await (const chunk of rest.body!) {
    text += new TextDecoder().decode(chunk)
    if (text.includes('counted to 3')) break
  }
  t.match(text, /"progress":1.*"progress":2.*"progress":3.*counted to 3/s)

  t.equal((await resume('999')).status, 400)
})

t.test('the record of what was received holds fingerprints and no token', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  await post(mcp, credential(token))
  await post(mcp, {})
  await post(mcp, credential(token), [{ jsonrpc: '2.0', method: 'notifications/initialized' }])
  await post(mcp, credential(token), 'not JSON')
  const { fingerprint } = new Secret(token)
  t.match(mcp.received(), [
    { status: 200, authorization: fingerprint, apiKey: fingerprint, sub: 'alice', rpcMethod: 'initialize' },
    { status: 401, authorization: undefined, apiKey: undefined, sub: undefined, rpcMethod: undefined },
    { status: 400, rpcMethod: 'notifications/initialized' },
    { status: 400, rpcMethod: undefined },
  ])
  t.notMatch(JSON.stringify(mcp.received()), token)

  await Promise.all(Array.from({ length: 110 }, async () => await fetch(mcp.url)))
  t.equal(mcp.received().length, 100)
})

t.test('a token can be rejected before it expires', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  const successor = await issuer.mint('alice')
  mcp.rejectToken(new Secret(token).fingerprint)
  t.match(await (await post(mcp, credential(token))).json(), { error_description: 'the token was revoked' })
  t.equal((await post(mcp, credential(successor))).status, 200)

  for (let n = 0; n < 100; n++) mcp.rejectToken(String(n))
  t.equal((await post(mcp, credential(token))).status, 200, 'what was rejected longest ago is forgotten')
})

t.test('a silent stream is open at once, and ends when the server closes', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  const { client, transport } = await agent(t, mcp, token)
  const session = { 'Mcp-Session-Id': transport.sessionId as string, 'MCP-Protocol-Version': '2025-06-18' }
  await client.close()
  const open = async () => await fetch(mcp.url, { headers: { ...credential(token), ...session, Accept: 'text/event-stream' } })
  let stream = await open()
  while (stream.status === 409) stream = await open()
  t.equal(stream.status, 200)
  t.equal(stream.headers.get('content-type'), 'text/event-stream')

  await Promise.all([mcp.close(), stream.text().catch(() => '')])
  await t.rejects(fetch(mcp.url))
})

t.test('a body over the SDK\'s limit is refused', async (t) => {
  const { issuer, mcp } = await start(t)
  const { access_token: token } = await issuer.login('alice')
  t.equal((await post(mcp, credential(token), ' '.repeat(4 * 1024 * 1024 + 1))).status, 413)
  t.match(mcp.received(), [{ status: 413 }])
})
