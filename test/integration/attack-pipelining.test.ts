import { once } from 'node:events'
import t from 'tap'
import { UpstreamDispatcher } from '../../src/upstream/dispatcher.js'
import { call } from '../helpers/call.js'
import { connectTo, countAnswers } from '../helpers/raw.js'
import { mintToken } from '../helpers/mint.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { answerJson, guarded, startUpstream, type Answer } from '../helpers/upstream.js'

const config = (origin: string): string => `
upstreams: { tools: { url: ${origin}/mcp } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`

function requestOf (key: string, method: 'GET' | 'POST', body = ''): string {
  return [`${method} /tools/mcp HTTP/1.1`, 'Host: localhost', `X-Session-Key: ${key}`, 'Content-Type: application/json', `Content-Length: ${body.length}`, '', body].join('\r\n')
}

/** Streams that the upstream has open, and the most there were. */
function streaming (): { answer: Answer, open: () => number, most: () => number } {
  let [open, most] = [0, 0]
  return {
    open: () => open,
    most: () => most,
    answer (_seen, response) {
      most = Math.max(most, ++open)
      response.on('close', () => open--)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    },
  }
}

async function until (holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    if (await holds()) return true
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return false
}

t.test('row 32: an agent that pipelined streams leaves: none stays open at the upstream', async (t) => {
  const streams = streaming()
  const upstream = await startUpstream(t, streams.answer)
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const agent = await connectTo(sidecar.proxyUrl)
  agent.write(requestOf(await sidecar.keyFor('alice'), 'GET').repeat(8))
  await once(agent, 'data')
  agent.destroy()
  t.ok(await until(() => streams.open() === 0))
  t.ok(await until(async () => metric(await sidecar.metrics(), 'mcp_valet_streams{upstream="tools"}') === 0))
})

t.test('row 32: a GET with a body is a stream whose agent may leave like any other', async (t) => {
  const streams = streaming()
  const upstream = await startUpstream(t, streams.answer)
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const agent = await connectTo(sidecar.proxyUrl)
  agent.write(requestOf(await sidecar.keyFor('alice'), 'GET', 'x'.repeat(1024 * 1024)))
  await once(agent, 'data')
  agent.destroy()
  t.ok(await until(() => streams.open() === 0))
})

t.test('row 43: one connection cannot have hundreds of calls wait behind one that never ends', async (t) => {
  const streams = streaming()
  const upstream = await startUpstream(t, streams.answer)
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const agent = await connectTo(sidecar.proxyUrl)
  agent.on('error', () => {}).resume()
  agent.write(requestOf(await sidecar.keyFor('alice'), 'GET').repeat(300))
  await once(agent, 'close')
  t.ok(await until(() => streams.open() === 0))
  t.equal(streams.most() <= 1, true, 'only the first had its turn')
})

t.test('row 51: calls that waited in line on a closed connection do not hold the end up', async (t) => {
  const streams = streaming()
  const upstream = await startUpstream(t, streams.answer)
  // A grace in which the test would end long before.
  const sidecar = await startSidecar(t, `drain: { calls: 10m, streams: 10m }${config(upstream.origin)}`, { env: { TOKEN: mintToken() } })
  const agent = await connectTo(sidecar.proxyUrl)
  agent.write(requestOf(await sidecar.keyFor('alice'), 'GET').repeat(4))
  await once(agent, 'data')
  agent.destroy()
  await sidecar.close()
  t.pass('it has ended')
})

t.test('row 24: a call that is refused in the middle of pipelined ones leaves each answer in its place', async (t) => {
  let good = mintToken()
  let calls = 0
  const upstream = await startUpstream(t, guarded((token) => token === good, (seen, response) => {
    // From the second call on, another token is wanted than the one there is.
    if (++calls === 1) good = mintToken()
    answerJson(seen, response)
  }))
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: good } })
  const agent = await connectTo(sidecar.proxyUrl)
  let wire = ''
  agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') })
  const key = await sidecar.keyFor('alice')
  agent.write([1, 2, 3].map((id) => requestOf(key, 'POST', `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)).join(''))
  t.ok(await until(() => countAnswers(wire) === 3 && wire.trimEnd().endsWith('}')))
  agent.destroy()
  t.same([...wire.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status), ['200', '502', '502'])
  t.same([...wire.matchAll(/"id":(\d)/g)].map(([, id]) => id), ['1', '2', '3'])
})

t.test('row 30: pipelined calls reach the upstream one after the other', async (t) => {
  let [open, most] = [0, 0]
  const upstream = await startUpstream(t, (seen, response) => {
    most = Math.max(most, ++open)
    setTimeout(() => { open--; answerJson(seen, response) }, 20)
  })
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const key = await sidecar.keyFor('alice')
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  const agent = await connectTo(sidecar.proxyUrl)
  let wire = ''
  agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') })
  agent.write([1, 2, 3, 4].map((id) => requestOf(key, 'POST', `{"jsonrpc":"2.0","id":${id},"method":"ping"}`)).join(''))
  t.ok(await until(() => countAnswers(wire) === 4))
  agent.destroy()
  t.equal(most, 1)
  t.same(upstream.seen.slice(1).map(({ body }) => (JSON.parse(body.toString()) as { id: number }).id), [1, 2, 3, 4])
})

t.test('P3: a call that waits in line ends with its session, however that ends', async (t) => {
  const streams = streaming()
  const upstream = await startUpstream(t, (...asked) => {
    if (asked[0].method === 'GET') streams.answer(...asked)
  })
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  for (const [how, code] of [['revoked', 'ERR_SESSION_UNKNOWN'], ['expired', 'ERR_SESSION_EXPIRED']] as const) {
    for (const method of ['POST', 'GET'] as const) {
      const before = upstream.seen.length
      const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: `${how}-${method}`, ...(how === 'expired' && { ttlMs: 400 }) })
      const agent = await connectTo(sidecar.proxyUrl)
      let wire = ''
      agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') }).on('error', () => {})
      agent.write(requestOf(key.reveal(), 'POST', '{"jsonrpc":"2.0","id":1,"method":"ping"}') + requestOf(key.reveal(), method))
      t.ok(await until(() => upstream.seen.length === before + 1))
      if (how === 'revoked') await sidecar.sessions.revoke(id)
      t.ok(await until(() => countAnswers(wire) === 2), `${how}, ${method}: both are answered`)
      agent.destroy()
      t.same([...wire.matchAll(/"code":"(\w+)"/g)].map(([, found]) => found), [code, code])
      t.equal(upstream.seen.length, before + 1, 'the second has not gone out')
    }
  }
  t.equal(streams.most(), 0)
})

t.test('P3: what waits in line of a session that goes on has its turn, and ends with it', async (t) => {
  const upstream = await startUpstream(t, (seen, response) => {
    if (seen.method === 'GET') response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n')
    else setTimeout(() => answerJson(seen, response), 50)
  })
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const { key } = await sidecar.sessions.create({ principal: 'alice', agent: 'planner', ttlMs: 700 })
  const agent = await connectTo(sidecar.proxyUrl)
  let wire = ''
  agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') }).on('error', () => {})
  agent.write(requestOf(key.reveal(), 'POST', '{"jsonrpc":"2.0","id":1,"method":"ping"}') + requestOf(key.reveal(), 'GET'))
  await once(agent, 'close')
  t.match(wire, /: hello/)
})

t.test('a fault of mcp-valet\'s own ends its call and no other, in line or not', async (t) => {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const key = await sidecar.keyFor('alice')
  const { send } = UpstreamDispatcher.prototype
  t.teardown(() => { UpstreamDispatcher.prototype.send = send })
  UpstreamDispatcher.prototype.send = function (outgoing, ...more) {
    if (outgoing.body?.includes('faulty') === true) throw new TypeError('what it says may be secret')
    send.call(this, outgoing, ...more)
  }
  const agent = await connectTo(sidecar.proxyUrl)
  let wire = ''
  agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') })
  const ask = (id: number, method: string): string => requestOf(key, 'POST', JSON.stringify({ jsonrpc: '2.0', id, method }))
  agent.write(ask(1, 'faulty') + ask(2, 'ping') + ask(3, 'faulty') + ask(4, 'ping'))
  t.ok(await until(() => countAnswers(wire) === 4))
  t.same(wire.match(/(?<=HTTP\/1.1 )\d+/g), ['500', '200', '500', '200'])
  t.same(wire.match(/ERR_\w+/g), ['ERR_INTERNAL', 'ERR_INTERNAL'])
  t.match(sidecar.events.filter(({ event }) => event === 'internal_error'), [{ reason: /^TypeError at / }, { reason: /^TypeError at / }])
  agent.destroy()
})

t.test('row 28: behind an answer that closes its connection nothing is begun', async (t) => {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, config(upstream.origin).replace('/mcp }', '/mcp, body_limit: 64KiB }'), { env: { TOKEN: mintToken() } })
  const key = await sidecar.keyFor('alice')
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200, 'a connection to the upstream is there')
  for (let i = 0; i < 5; i++) {
    const agent = await connectTo(sidecar.proxyUrl)
    let wire = ''
    agent.on('data', (chunk: Buffer) => { wire += chunk.toString('latin1') }).on('error', () => {})
    agent.write(requestOf(key, 'POST', 'x'.repeat(100_000)) + requestOf(key, 'POST', '{"jsonrpc":"2.0","id":2,"method":"ping"}'))
    await once(agent, 'close')
    t.notMatch(wire, /HTTP\/1\.1 200/)
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  t.equal(upstream.seen.length, 1)
})

t.test('row 29: an expectation that nobody knows is as if it were not there, and the guard stands before it', async (t) => {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, config(upstream.origin), { env: { TOKEN: mintToken() } })
  const key = await sidecar.keyFor('alice')
  const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key, headers: { expect: '200-ok' } })
  t.equal(answer.status, 200)
  t.equal(upstream.seen[0]?.headers.expect, undefined)
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key, headers: { expect: '200-ok', host: 'evil.example' } })).status, 403)
})
