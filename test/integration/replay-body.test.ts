import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, createServer, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { listening, startFlow, startRawUpstream, startRotating, rawAnswer } from '../helpers/peers.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startUpstream } from '../helpers/upstream.js'

/** A body that two sockets' buffers do not swallow whole. */
const LARGE = rpc('tools/call', { name: 'x', blob: randomBytes(15 << 19).toString('base64') })

t.test('row 28: a body over body_limit that says so is refused with 413, and nothing is sent', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, 'body_limit: 1KiB')
  const answer = await call(url, { key, body: rpc('ping', { x: 'y'.repeat(1024) }), headers: { 'content-length': String(rpc('ping', { x: 'y'.repeat(1024) }).length) } })
  t.equal(answer.status, 413)
  t.equal(errorCode(answer), 'ERR_BODY_TOO_LARGE')
  t.equal(upstream.seen.length, 0)
})

t.test('row 28: so is one that comes in chunks', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key, sidecar } = await startFlow(t, upstream.origin, 'body_limit: 1KiB')
  const answer = await call(url, { key, body: rpc('ping', { x: 'y'.repeat(4096) }), headers: { 'transfer-encoding': 'chunked' } })
  t.equal(answer.status, 413)
  t.equal(errorCode(answer), 'ERR_BODY_TOO_LARGE')
  t.match(sidecar.events.filter(({ event }) => event === 'denied'), [{ code: 'ERR_BODY_TOO_LARGE', principal: 'alice', upstream: 'tools' }])
  t.equal(upstream.seen.length, 0)
})

t.test('row 28: a body of exactly body_limit goes through, in chunks and with a length', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, 'body_limit: 1KiB')
  const body = rpc('ping', { x: '' })
  const full = rpc('ping', { x: 'y'.repeat(1024 - body.length) })
  t.equal((await call(url, { key, body: full, headers: { 'content-length': '1024' } })).status, 200)
  t.equal((await call(url, { key, body: full, headers: { 'transfer-encoding': 'chunked' } })).status, 200)
  t.same(upstream.seen.map(({ body }) => body.length), [1024, 1024])
})

t.test('row 28: a body in chunks of a byte arrives as it was sent', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin)
  const body = Buffer.from(rpc('ping', { x: randomBytes(50_000).toString('hex') }))
  const chunks = [...body].map((byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]))
  const answer = await sendRaw(url, Buffer.concat([
    Buffer.from(requestText(`POST ${new URL(url).pathname} HTTP/1.1`, ['Host: localhost', `X-Session-Key: ${key}`, 'Content-Type: application/json', 'Transfer-Encoding: chunked'])),
    ...chunks, Buffer.from('0\r\n\r\n'),
  ]))
  t.equal(answer.status, 200)
  t.ok(upstream.seen[0]?.body.equals(body))
})

t.test('row 28: what type a body says it is, and whether it says so, is for the upstream to judge', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin)
  const body = Buffer.from([0, 0xff, 0x0d, 0x0a, ...Buffer.from('{"jsonrpc":')])
  for (const type of ['application/json; charset=latin1', 'multipart/form-data; boundary=x', 'text/', ';']) {
    for (const method of ['POST', 'DELETE']) {
      t.equal((await call(url, { method, key, body, headers: { 'content-type': type, 'content-length': String(body.length) } })).status, 200)
      t.match(upstream.seen.at(-1), { method, headers: { 'content-type': type } })
      t.ok(upstream.seen.at(-1)?.body.equals(body), 'the bytes as they came')
    }
  }
  t.equal((await call(url, { method: 'DELETE', key })).status, 200, 'or nothing at all')
})

t.test('row 29: Expect: 100-continue is answered, and the call goes through without it', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin)
  const body = rpc('ping')
  const request = httpRequest(url, { method: 'POST', headers: { 'x-session-key': key, expect: '100-continue', 'content-type': 'application/json', 'content-length': body.length } })
  request.flushHeaders()
  await once(request, 'continue')
  t.equal(upstream.seen.length, 0)
  request.end(body)
  const [response] = await once(request, 'response')
  t.equal(response.statusCode, 200)
  t.equal(upstream.seen[0]?.headers.expect, undefined)
  t.equal(upstream.seen[0]?.body.toString(), body)
})

t.test('row 33: an early 401 on a 10 MB upload is replayed whole, though the upstream reads no more of the first', async (t) => {
  const upstream = await startDeafUpstream(t)
  const { url, key } = await startRotating(t, upstream.origin, { upstream: 'body_limit: 32MiB, timeouts: { headers: 20s }' })
  const answer = await call(url, { key, body: LARGE })
  t.equal(answer.status, 200)
  t.ok(upstream.bodies.at(-1)?.equals(Buffer.from(LARGE)))
  t.equal((await call(url, { key })).status, 200, 'and the next call is answered')
})

t.test('row 33: after an early refusal that ends the call, the next one is answered', async (t) => {
  const upstream = await startDeafUpstream(t)
  const { url, key } = await startRotating(t, upstream.origin, { upstream: 'body_limit: 32MiB, replays: 0, timeouts: { headers: 20s }' })
  t.equal((await call(url, { key, body: LARGE })).status, 502)
  t.equal((await call(url, { key })).status, 200)
})

t.test('row 33: an early 401 that closes the connection is replayed too', async (t) => {
  let count = 0
  const server = createServer((request, response) => {
    if (++count > 1) return void request.resume().on('end', () => { response.end('{}') })
    response.writeHead(401, { connection: 'close' }).end('no')
  })
  const { origin } = await listening(t, server, [])
  t.teardown(() => { server.closeAllConnections() })
  const { url, key } = await startRotating(t, origin, { upstream: 'body_limit: 32MiB' })
  t.equal((await call(url, { key, body: rpc('ping') })).status, 200)
  t.equal(count, 2)
})

t.test('row 33: the agent\'s own connection carries its next call after an upload that was refused early', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, 'body_limit: 32MiB')
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const statuses: number[] = []
  for (const [body, as] of [[LARGE, 'vk_nobody'], [rpc('ping'), key]] as const) {
    const request = httpRequest(url, { agent, method: 'POST', headers: { 'x-session-key': as, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } })
    request.end(body)
    const [response] = await once(request, 'response')
    statuses.push(response.statusCode)
    response.resume()
    await once(response, 'end')
  }
  t.same(statuses, [401, 200])
})

t.test('row 33: calls that an agent sends without waiting are answered in their order', async (t) => {
  const upstream = await startRawUpstream(t, (socket, { body }) => {
    const { id } = JSON.parse(body.toString()) as { id: number }
    setTimeout(() => socket.write(rawAnswer(`{"id":${id}}`)), id === 1 ? 50 : 0)
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const target = new URL(url)
  const socket = connect(Number(target.port), target.hostname)
  const one = (id: number): string => {
    const body = rpc('ping', {}, id)
    return `POST ${target.pathname} HTTP/1.1\r\nhost: ${target.host}\r\nx-session-key: ${key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n${id === 3 ? 'connection: close\r\n' : ''}\r\n${body}`
  }
  socket.write(one(1) + one(2) + one(3))
  let text = ''
  socket.on('data', (chunk) => { text += chunk })
  await once(socket, 'close')
  t.same([...text.matchAll(/"id":(\d)/g)].map((match) => match[1]), ['1', '2', '3'])
})

/** Answers the first request 401 as soon as its head is there, keeps the connection, and reads nothing more from it. */
async function startDeafUpstream (t: import('tap').Test): Promise<{ origin: string, bodies: Buffer[] }> {
  const bodies: Buffer[] = []
  const { createServer: createTcp } = await import('node:net')
  const sockets: import('node:net').Socket[] = []
  const server = createTcp((socket) => {
    const first = sockets.push(socket) === 1
    let pending = Buffer.alloc(0)
    const chunks: Buffer[] = []
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      if (first) {
        socket.pause()
        socket.write(rawAnswer('no', 'www-authenticate: Bearer error="invalid_token"\r\n', '401 Unauthorized'))
        return
      }
      chunks.push(chunk)
      const length = chunks.reduce((sum, { length }) => sum + length, 0)
      if (pending.length === 0) pending = chunk
      const head = pending.indexOf('\r\n\r\n')
      const expected = Number(/content-length: (\d+)/i.exec(pending.toString('latin1'))?.[1] ?? 0)
      if (length < head + 4 + expected) return
      bodies.push(Buffer.concat(chunks).subarray(head + 4))
      chunks.length = 0
      pending = Buffer.alloc(0)
      socket.write(rawAnswer('{}'))
    })
  })
  return { ...await listening(t, server, sockets), bodies }
}
