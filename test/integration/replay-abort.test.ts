import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import t from 'tap'
import { arrivalsAt, door, eventually, open, rawAnswer, startFlow, startRawUpstream, startRotating } from '../helpers/peers.js'

/** Runs `leave` and says whether the upstream's connection was closed within the promised second. */
async function closedInTime (socket: import('node:net').Socket, leave: () => void): Promise<boolean> {
  if (socket.destroyed) return false
  const closed = once(socket, 'close').then(() => true)
  // Twice the promise: a loaded machine is no defect.
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 2_000).unref())
  leave()
  return await Promise.race([closed, late])
}

t.test('row 32: an agent that leaves before the answer frees the upstream\'s connection', async (t) => {
  const upstream = await startRawUpstream(t, () => {})
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const { request } = open(url, { key })
  await eventually(() => upstream.requests.length === 1)
  t.ok(await closedInTime(upstream.sockets[0]!, () => request.destroy()))
  t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'aborted', status: 0 })
})

t.test('row 32: so does one that leaves in the middle of a stream', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n')
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const { request, head } = open(url, { key, method: 'GET' })
  await once(await head, 'data')
  t.ok(await closedInTime(upstream.sockets[0]!, () => request.destroy()))
  await sidecar.until(({ event }) => event === 'stream_closed')
  t.match(await sidecar.metrics(), /^mcp_valet_streams\{upstream="tools"\} 0$/m)
})

t.test('row 32: so does one that leaves while a renewal is awaited, and the renewal goes on for the others', async (t) => {
  const gate = door()
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    socket.write(head.includes(first) ? rawAnswer('no', '', '401 Unauthorized') : rawAnswer('{}'))
  })
  let asked = 0
  const { url, key, first, issuer } = await startRotating(t, upstream.origin, {
    issuer: { onTokenRequest: async (_params, next) => { asked++; await gate.opened; return await next() } },
  })
  const leaver = open(url, { key })
  await eventually(() => asked === 1)
  const stayer = open(url, { key })
  await eventually(() => upstream.requests.length === 2)
  t.ok(await closedInTime(upstream.sockets[0]!, () => leaver.request.destroy()))
  gate.open()
  t.equal((await stayer.head).statusCode, 200)
  t.equal(issuer.requests.refresh_token.ok, 1)
  t.equal(upstream.requests.length, 3, 'nothing was sent for the one who left')
})

t.test('row 32: an agent that leaves while the first token is awaited costs no call', async (t) => {
  const gate = door()
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}')) })
  let asked = 0
  const { url, key, sidecar } = await startRotating(t, upstream.origin, {
    issuer: { lifetime: 1, now: () => 0, onTokenRequest: async (_params, next) => { asked++; await gate.opened; return await next() } },
  })
  const arrived = arrivalsAt(t, new URL(url).pathname)
  const { request } = open(url, { key })
  await eventually(() => asked === 1 && arrived() === 1)
  request.destroy()
  await sidecar.until((event) => event.event === 'call' && event.outcome === 'aborted')
  gate.open()
  await sidecar.until(({ event }) => event === 'refresh')
  t.equal(upstream.requests.length, 0)
})

t.test('row 32: an agent that leaves while the connection is being made costs no call', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}')) })
  const { url, key } = await startFlow(t, upstream.origin)
  for (let i = 0; i < 20; i++) {
    const { request } = open(url, { key })
    request.once('finish', () => setImmediate(() => request.destroy()))
    await new Promise((resolve) => request.once('close', resolve))
  }
  const { head } = open(url, { key })
  t.equal((await head).statusCode, 200, 'and the next one is answered')
})

t.test('row 32: one that leaves in the middle of its own body is nobody\'s failure', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}')) })
  for (const framing of [{ 'content-length': '10' }, { 'transfer-encoding': 'chunked' }]) {
    const { url, key, sidecar } = await startFlow(t, upstream.origin)
    const request = httpRequest(url, { method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json', ...framing } })
    request.on('error', () => {})
    request.write('{')
    await new Promise((resolve) => setTimeout(resolve, 50))
    request.destroy()
    t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'aborted', status: 0 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    t.same(sidecar.events.filter(({ event }) => ['denied', 'failed', 'internal_error'].includes(event)), [])
  }
  t.equal(upstream.requests.length, 0)
})
