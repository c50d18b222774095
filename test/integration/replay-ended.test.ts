import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import t, { type Test } from 'tap'
import { call, errorCode } from '../helpers/call.js'
import { door, drain, eventually, open, rawAnswer, startFlow, startRawUpstream, startRotating } from '../helpers/peers.js'

const ENDS: ReadonlyArray<readonly [name: string, end: (socket: Socket) => void]> = [
  ['ends', (socket) => { socket.end() }],
  ['is reset', (socket) => { socket.resetAndDestroy() }],
]
const settle = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve, 50))

/** A call whose answer is held for a token that does not come until `let through`, by which time its connection has ended. */
async function heldWhileEnding (t: Test, answer: string, end: (socket: Socket) => void, renewed: boolean) {
  const gate = door()
  let asked = 0
  const upstream = await startRawUpstream(t, (socket, { head }) => { socket.write(head.includes(flow.first) ? answer : rawAnswer('{}')) })
  const flow = await startRotating(t, upstream.origin, {
    issuer: { onTokenRequest: async (_params, next) => { asked++; await gate.opened; return renewed ? await next() : { status: 503 } } },
    upstream: 'deadline: 1s',
  })
  const waiting = call(flow.url, { key: flow.key })
  await eventually(() => asked === 1)
  end(upstream.sockets[0] as Socket)
  await settle()
  gate.open()
  const got = await waiting.then((answer) => answer.status === 502 ? errorCode(answer) : answer.status, () => 'broken off')
  return { got, sidecar: flow.sidecar }
}

/** What follows the status line, and whether the answer is whole where the connection ends behind it, or is reset. */
const ANSWERS: ReadonlyArray<readonly [rest: string, whole: boolean | 'unless reset']> = [
  ['connection: close\r\ncontent-length: 0\r\n\r\n', true],
  ['content-length: 0\r\n\r\n', true],
  ['connection: close\r\ncontent-length: 5\r\n\r\nabcde', true],
  ['connection: close\r\ncontent-length: 5\r\n\r\n', false],
  ['content-length: 5\r\n\r\nabc', false],
  ['connection: close\r\n\r\n', 'unless reset'],
  ['\r\nabc', 'unless reset'],
  ['connection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n', true],
  ['transfer-encoding: chunked\r\n\r\n', false],
]

const BROKEN: readonly unknown[] = ['ERR_UPSTREAM_UNREACHABLE', 'ERR_UPSTREAM_INVALID', 'broken off']

for (const [rest, whole] of ANSWERS) {
  for (const [how, end] of ENDS) {
    t.test(`a held answer whose connection ${how} meanwhile has an end, and so has its pool: ${JSON.stringify(rest)}`, async (t) => {
      const refused = await heldWhileEnding(t, `HTTP/1.1 401 Unauthorized\r\n${rest}`, end, true)
      t.equal(refused.got, 200, 'a 401 is replayed all the same')
      const forbidden = await heldWhileEnding(t, `HTTP/1.1 403 Forbidden\r\n${rest}`, end, false)
      // A reset may overtake what came before it: then the answer is not whole, whatever its end was.
      const possible: readonly unknown[] = [...whole === true || (whole !== false && how === 'ends') ? [403] : [], ...whole === false || how === 'is reset' ? BROKEN : []]
      t.ok(possible.includes(forbidden.got), String(forbidden.got))
      await Promise.all([refused.sidecar.close(), forbidden.sidecar.close()])
    })
  }
}

t.test('an empty 403 whose idle connection the upstream closes while it is held stays one', async (t) => {
  const server = createServer({ keepAliveTimeout: 20 }, (request, response) => { request.resume().on('end', () => response.writeHead(403, { 'content-length': 0 }).end()) })
  Object.assign(server, { keepAliveTimeoutBuffer: 0 })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  let closed = false
  server.on('connection', (socket) => socket.on('close', () => { closed = true }))
  const { url, key } = await startRotating(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`, {
    issuer: { onTokenRequest: async () => { await eventually(() => closed); await settle(); return { status: 503 } } },
    upstream: 'deadline: 12s',
  })
  t.equal((await call(url, { key })).status, 403)
})

const SIZE = 6 << 20

for (const version of ['HTTP/1.0', 'HTTP/1.1']) {
  t.test(`an answer that ends with its connection reaches an agent that reads slowly, to its end: ${version}`, async (t) => {
    const upstream = await startRawUpstream(t, (socket) => {
      socket.write(`${version} 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n`)
      socket.end('x'.repeat(SIZE))
    })
    const { url, key } = await startFlow(t, upstream.origin)
    await Promise.all(Array.from({ length: 8 }, async () => {
      const answer = await open(url, { key }).head
      answer.on('data', () => { answer.pause(); setTimeout(() => answer.resume(), 1) })
      const { text, complete } = await drain(answer)
      t.same([text.length, complete], [SIZE, true])
    }))
  })
}

t.test('RFC 9112 §8: an answer of no given length does not look whole where its connection was reset', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write('HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\r\n{"half":') })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await open(url, { key }).head
  const ending = drain(answer)
  await settle()
  upstream.sockets[0]?.resetAndDestroy()
  t.same(await ending, { text: '{"half":', complete: false })
})
