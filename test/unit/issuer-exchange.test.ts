import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { fetchJson } from '../../src/caller/fetch-json.js'
import { askTokenEndpoint } from '../../src/credential/grants/token-endpoint.js'
import { exchange } from '../../src/issuer-exchange.js'
import { rawAnswer, startRawUpstream } from '../helpers/peers.js'
import { settled } from '../helpers/manual-clock.js'
import { startUpstream } from '../helpers/upstream.js'

const now = (): number => Date.now()
const bounded = { timeout: 20_000 }
const soon = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(10_000) })

/** Asks in both ways there are while calls are served. @returns what was told of it */
async function told (url: string): Promise<string[]> {
  const reasons = [fetchJson(url, 'its key set'), askTokenEndpoint(url, { method: 'POST', body: 'a=b' }, { now })]
    .map(async (answer) => await answer.then((body) => JSON.stringify(body), (error: unknown) => (error as Error).message))
  return await Promise.all(reasons)
}

/** A server whose every answer is packed like this. */
async function startPacked (t: Test, coding: string, bytes: Uint8Array): Promise<string> {
  return (await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-encoding': coding }).end(bytes) })).origin
}

t.test('an answer in more codings than anybody reads that breaks off ends no process', bounded, async (t) => {
  for (const count of [1, 2, 6, 7]) {
    const { origin, sockets } = await startRawUpstream(t, (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: ${Array(count).fill('gzip').join(', ')}\r\ncontent-length: 5000\r\n\r\n${'A'.repeat(1000)}`)
      setTimeout(() => socket.end(), 50)
    })
    t.same(await told(origin), ['its key set cannot be reached (ECONNRESET)', 'the token endpoint cannot be reached (ECONNRESET)'], String(count))
    await Promise.all(sockets.map(async (socket) => { if (!socket.closed) await once(socket, 'close') }))
    // What fails with nobody listening would fail now.
    await settled()
  }
})

t.test('what is packed once although nobody asked for it is unpacked, to a bound', bounded, async (t) => {
  const json = '{"keys":[]}'
  for (const [coding, bytes] of [
    ['gzip', gzipSync(json)], ['X-GZip', gzipSync(json)], ['br', brotliCompressSync(json)], ['deflate', deflateSync(json)], ['deflate', deflateRawSync(json)], ['identity', Buffer.from(json)],
  ] as const) t.same(await told(await startPacked(t, coding, bytes)), [json, json], coding)
  const bomb = gzipSync('x'.repeat(10_000_000))
  t.same(await told(await startPacked(t, 'gzip', bomb)), ['its key set is larger than 256 KiB', 'the answer of the token endpoint is larger than 256 KiB'])
  t.same(await told(await startPacked(t, 'gzip', Buffer.from(json))), ['its key set is packed, and cannot be unpacked (Content-Encoding)', 'the answer of the token endpoint is packed, and cannot be unpacked (Content-Encoding)'])
  t.same(await told(await startPacked(t, 'gzip', Buffer.alloc(0))), ['its key set is no JSON object', 'the token endpoint answered HTTP 200 with something that is no JSON object'])
  for (const coding of ['gzip, gzip', 'compress', 'zstd', 'gzip,']) {
    t.same(await told(await startPacked(t, coding, gzipSync(gzipSync(json)))), ['its key set is packed in a way that is not read here (Content-Encoding)', 'the answer of the token endpoint is packed in a way that is not read here (Content-Encoding)'], coding)
  }
})

t.test('nobody is asked for a packed answer, each has a connection of its own, and some things are said to everybody', bounded, async (t) => {
  const { origin, requests, sockets } = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}')) })
  await fetchJson(origin, 'it')
  await askTokenEndpoint(origin, { method: 'POST', headers: { 'user-agent': 'me' }, body: new URLSearchParams({ a: 'é' }) }, { now })
  await askTokenEndpoint(origin, { method: 'POST' }, { now })
  t.equal(sockets.length, 3)
  t.match(requests.map(({ head }) => head.toLowerCase()), [/^get \/ .*accept: application\/json, application\/jwk-set\+json\r\n/s, /user-agent: me\r\n.*content-length: 8(?:\r\n|$)/s, /accept: \*\/\*\r\nuser-agent: node\r\n.*content-length: 0(?:\r\n|$)/s])
  t.ok(requests.every(({ head }) => /accept-encoding: identity\r\n/i.test(head) && /connection: close(?:\r\n|$)/i.test(head)))
})

t.test('an issuer on a port that browsers do not talk to is asked', bounded, async (t) => {
  const server = createServer((_request, response) => { response.end('{"a":1}') })
  t.teardown(() => { server.close() })
  let port = 0
  for (const forbidden of [10080, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6697]) {
    const listening = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(forbidden, '127.0.0.1', () => resolve(true))
    })
    if (listening) { port = (server.address() as AddressInfo).port; break }
  }
  if (port === 0) return t.comment('all of these ports are taken')
  t.same(await told(`http://127.0.0.1:${port}`), ['{"a":1}', '{"a":1}'])
})

t.test('an answer that is none ends the exchange at once', bounded, async (t) => {
  for (const answer of ['HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nxx', 'HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal']) {
    const { origin } = await startRawUpstream(t, (socket) => { socket.end(answer) })
    for (const reason of await told(origin)) t.match(reason, /cannot be reached \((?:[A-Z_]+|connection failed)\)$/, answer.slice(9, 12))
  }
})

t.test('a body that is not wanted is not waited for', bounded, async (t) => {
  const { origin } = await startRawUpstream(t, (socket) => { socket.write('HTTP/1.1 503 Later\r\ncontent-length: 100\r\n\r\nhalf') })
  t.match(await exchange(new URL(origin), {}, { ...soon(), wants: (status) => status === 200 }), { status: 503, text: '' })
  await t.rejects(fetchJson(origin, 'it'), { message: 'it answered HTTP 503' })
})
