import { createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { ask } from '../../../src/login/ask.js'
import { answer } from '../../helpers/login-peer.js'
import { startUpstream } from '../../helpers/upstream.js'

const never = new AbortController().signal
const asking = { whom: 'it', stop: never }

/** A server that writes these bytes to whoever connects. */
async function startRaw (t: Test, bytes: string): Promise<URL> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

t.test('an answer comes with its status, its challenge and its text', async (t) => {
  const { origin, seen } = await startUpstream(t, answer(401, { a: 1 }, { 'www-authenticate': 'Bearer scope="x"', 'set-cookie': 'a=b', 'content-type': 'text/html' }))
  const answered = await ask(new URL(`${origin}/x`), { method: 'POST', headers: { accept: 'application/json' }, body: new URLSearchParams({ a: 'é' }) }, asking)
  t.equal(answered.status, 401)
  t.same(Object.fromEntries(answered.headers), { 'content-type': 'application/json', 'www-authenticate': 'Bearer scope="x"' })
  t.same(await answered.json(), { a: 1 })
  t.match(seen, [{ method: 'POST', url: '/x', headers: { accept: 'application/json', 'content-length': '8', connection: 'close' }, body: Buffer.from('a=%C3%A9') }])
})

t.test('an answer without a body, and a status that is none, are answers', async (t) => {
  const empty = await startUpstream(t, (_seen, response) => { response.writeHead(204).end() })
  t.equal((await ask(new URL(empty.origin), {}, asking)).status, 204)
  t.equal((await ask(await startRaw(t, 'HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n'), {}, asking)).status, 500)
})

t.test('of a head alone the rest is not waited for', async (t) => {
  const url = await startRaw(t, 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n')
  t.equal(await (await ask(url, {}, { ...asking, headOnly: true })).text(), '')
})

t.test('who says nothing, too much or nonsense is told of, without its words', async (t) => {
  await t.rejects(ask(await startRaw(t, ''), {}, { ...asking, patienceMs: 30 }), { message: 'it did not answer within 0.03 s' })
  await t.rejects(ask(await startRaw(t, 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'), {}, { ...asking, patienceMs: 30 }), { message: 'it did not answer within 0.03 s' }, 'nor by half')
  await t.rejects(ask(await startRaw(t, 'secret nonsense\r\n\r\n'), {}, asking), { message: /^it cannot be reached \(HPE_[A-Z_]+\)$/ })
  await t.rejects(ask(await startRaw(t, `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`), {}, asking), { message: 'it cannot be reached (HPE_HEADER_OVERFLOW)' })
  await t.rejects(ask(await startRaw(t, `HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n${'x'.repeat(300_000)}`), {}, asking), { message: 'the answer of it is larger than 256 KiB' })
  await t.rejects(ask(new URL('http://127.0.0.1:1'), {}, asking), { message: 'it cannot be reached (ECONNREFUSED)' })
})

t.test('who is told to stop is not told that nobody answered', async (t) => {
  await t.rejects(ask(await startRaw(t, ''), {}, { ...asking, stop: AbortSignal.timeout(20) }), { message: /^cancelled/ })
  await t.rejects(ask(await startRaw(t, ''), {}, { ...asking, stop: AbortSignal.abort() }), { message: /^cancelled/ })
})
