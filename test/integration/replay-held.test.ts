import { once } from 'node:events'
import t from 'tap'
import { call, errorCode } from '../helpers/call.js'
import { door, drain, eventually, rawAnswer, startFlow, startRawUpstream, startRotating } from '../helpers/peers.js'

const REFUSED = 'HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer error="invalid_token"\r\n'

t.test('row 26: an answer that was held arrives whole when it is let through after all', async (t) => {
  const body = 'x'.repeat(3 << 20)
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer(body, '', '403 Forbidden')) })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.same([answer.status, answer.body.length], [403, body.length])
  t.equal((await call(url, { key })).status, 403, 'and its connection can be used again')
  t.equal(upstream.sockets.length, 1)
})

t.test('row 26: so does one without a body, and one that ended while it was held', async (t) => {
  for (const answer of ['HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n', 'HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\nbye']) {
    const gate = door()
    const upstream = await startRawUpstream(t, (socket) => {
      socket.write(answer)
      if (answer.includes('close')) socket.end()
    })
    let asked = 0
    const { url, key } = await startRotating(t, upstream.origin, {
      issuer: { onTokenRequest: async () => { asked++; await gate.opened; return { status: 503 } } },
      upstream: 'deadline: 2s',
    })
    const waiting = call(url, { key })
    await eventually(() => asked === 1)
    gate.open()
    const { status, body } = await waiting
    t.same([status, body], [403, answer.includes('close') ? 'bye' : ''])
  }
})

t.test('row 26: a held answer whose connection breaks meanwhile is an unreachable upstream', async (t) => {
  const gate = door()
  const upstream = await startRawUpstream(t, (socket) => { socket.write('HTTP/1.1 403 Forbidden\r\ncontent-length: 10\r\n\r\nabc') })
  let asked = 0
  const { url, key } = await startRotating(t, upstream.origin, {
    issuer: { onTokenRequest: async () => { asked++; await gate.opened; return { status: 503 } } },
    upstream: 'deadline: 2s',
  })
  const waiting = call(url, { key })
  await eventually(() => asked === 1)
  upstream.sockets[0]?.resetAndDestroy()
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.open()
  const answer = await waiting
  t.same([answer.status, errorCode(answer)], [502, 'ERR_UPSTREAM_UNREACHABLE'])
})

t.test('row 23: a held 401 whose connection breaks meanwhile is replayed all the same', async (t) => {
  const gate = door()
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    socket.write(head.includes(first) ? REFUSED + 'content-length: 10\r\n\r\nabc' : rawAnswer('{}'))
  })
  let asked = 0
  const { url, key, first } = await startRotating(t, upstream.origin, {
    issuer: { onTokenRequest: async (_params, next) => { asked++; await gate.opened; return await next() } },
  })
  const waiting = call(url, { key })
  await eventually(() => asked === 1)
  upstream.sockets[0]?.resetAndDestroy()
  await new Promise((resolve) => setTimeout(resolve, 50))
  gate.open()
  t.equal((await waiting).status, 200)
})

t.test('row 33: a refused answer that has no end costs its connection, and the call nothing', async (t) => {
  const block = Buffer.alloc(1 << 16, 'x')
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    if (!head.includes(first)) return void socket.write(rawAnswer('{}'))
    socket.write(REFUSED + 'content-length: 1000000000\r\n\r\n')
    const more = (): void => { while (!socket.destroyed && socket.write(block)); }
    socket.on('drain', more)
    more()
  })
  const { url, key, first } = await startRotating(t, upstream.origin)
  t.equal((await call(url, { key })).status, 200)
  await eventually(() => upstream.sockets[0]?.destroyed === true)
})

t.test('row 33: so does one that stops in the middle', async (t) => {
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    socket.write(head.includes(first) ? REFUSED + 'content-length: 10\r\n\r\nabc' : rawAnswer('{}'))
  })
  const { url, key, first } = await startRotating(t, upstream.origin)
  t.equal((await call(url, { key })).status, 200)
  await eventually(() => upstream.sockets[0]?.destroyed === true)
  t.notOk(upstream.sockets[1]?.destroyed)
})

t.test('row 33: the connection of a refused answer that ends soon is used again', async (t) => {
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    socket.write(head.includes(first) ? REFUSED + 'content-length: 3\r\n\r\nabc' : rawAnswer('{}'))
  })
  const { url, key, first } = await startRotating(t, upstream.origin)
  for (let i = 0; i < 5; i++) t.equal((await call(url, { key })).status, 200)
  t.ok(upstream.sockets.length <= 2)
  t.notOk(upstream.sockets.some(({ destroyed }) => destroyed))
})

t.test('F7: a hundred calls on kept connections leave no listener behind', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
    socket.write(`${(1 << 17).toString(16)}\r\n${'x'.repeat(1 << 17)}\r\n0\r\n\r\n`)
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const { Agent, request } = await import('node:http')
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let i = 0; i < 100; i++) {
    const sent = request(url, { agent, headers: { 'x-session-key': key } }).end()
    const [response] = await once(sent, 'response')
    await drain(response)
  }
  await new Promise((resolve) => setImmediate(resolve))
  t.same(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning'), [])
  t.equal(upstream.sockets.length, 1)
})
