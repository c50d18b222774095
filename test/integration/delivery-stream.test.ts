import { once } from 'node:events'
import t from 'tap'
import { call } from '../helpers/call.js'
import { door, drain, eventually, open, piece, startFlow, startRawUpstream, startRotating } from '../helpers/peers.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

const SSE = { 'content-type': 'text/event-stream' }

t.test('row 31: a stream that is silent for longer than every other time-out lives', async (t) => {
  const gate = door()
  const upstream = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, SSE).flushHeaders()
    void gate.opened.then(() => response.end('data: late\n\n'))
  })
  const { url, key } = await startFlow(t, upstream.origin, 'timeouts: { headers: 200ms, connect: 200ms }', { limits: { headers: 200, request: 200, stall: 200, check: 50 } })
  const response = await open(url, { key, method: 'GET' }).head
  // undici counts its time-outs in steps of a second.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  gate.open()
  t.same(await drain(response), { text: 'data: late\n\n', complete: true })
})

t.test('row 31: timeouts.idle, where it is given, ends a silent stream, and visibly', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, SSE).write('data: 1\n\n') })
  const { url, key, sidecar } = await startFlow(t, upstream.origin, 'timeouts: { idle: 300ms }')
  const ending = await drain(await open(url, { key, method: 'GET' }).head)
  t.same(ending, { text: 'data: 1\n\n', complete: false })
  t.match(await sidecar.until(({ event }) => event === 'failed'), { reason: /UND_ERR_BODY_TIMEOUT/ })
})

t.test('row 31: timeouts.idle does not end a stream that an agent reads slowly', async (t) => {
  const much = 'x'.repeat(8 << 20)
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, SSE).end(much) })
  const { url, key } = await startFlow(t, upstream.origin, 'timeouts: { idle: 300ms }')
  const response = await open(url, { key }).head
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  const { text, complete } = await drain(response)
  t.same([text.length, complete], [much.length, true])
})

t.test('row 31: an event reaches the agent while the upstream still holds the next', async (t) => {
  const gates = [door(), door()]
  const upstream = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, SSE).flushHeaders()
    void gates[0]?.opened.then(() => response.write('id: 1\nretry: 5\ndata:\n\n: comment\n\n'))
    void gates[1]?.opened.then(() => response.end('data: 2\n\n'))
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const response = await open(url, { key }).head
  t.equal(response.statusCode, 200, 'the head comes before any event')
  gates[0]?.open()
  t.equal(await piece(response), 'id: 1\nretry: 5\ndata:\n\n: comment\n\n')
  gates[1]?.open()
  t.equal(await piece(response), 'data: 2\n\n')
})

t.test('row 31: a burst of small pieces arrives whole and in order', async (t) => {
  const events = Array.from({ length: 20_000 }, (_, i) => `data: ${i}\n\n`)
  const upstream = await startRawUpstream(t, (socket) => {
    const chunks = events.map((event) => `${event.length.toString(16)}\r\n${event}\r\n`).join('')
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n' + chunks)
    setImmediate(() => socket.write('0\r\n\r\n'))
  })
  const { url, key } = await startFlow(t, upstream.origin, '', { limits: { stall: 3_000 } })
  const ending = await drain(await open(url, { key }).head)
  t.ok(ending.complete)
  t.equal(ending.text, events.join(''))
})

t.test('row 31: what an upstream cuts into single bytes is put together again', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    void (async () => {
      socket.setNoDelay()
      for (const byte of Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\nx-trailer: t\r\n\r\n')) {
        socket.write(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.same([answer.status, answer.body], [200, '{"a":1}'])
})

t.test('row 43: an agent that reads slowly makes its upstream wait instead of filling the memory', async (t) => {
  const total = 64 << 20
  const block = Buffer.alloc(1 << 16, 'x')
  let sent = 0
  const upstream = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': total })
    const more = (): void => {
      while (sent < total) {
        sent += block.length
        if (!response.write(block)) return void response.once('drain', more)
      }
      response.end()
    }
    more()
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const response = await open(url, { key }).head
  await once(response, 'readable')
  // Until nothing moves any more: four looks in a row at the same number.
  let still = 0
  for (let last = -1; still < 4;) {
    still = sent === last ? still + 1 : 0
    last = sent
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  t.ok(sent < total * 0.75, `the upstream was stopped after ${sent >> 20} of ${total >> 20} MiB`)
  let received = 0
  response.on('data', (chunk: Buffer) => { received += chunk.length })
  await once(response, 'end')
  t.equal(received, total, 'and all of it came, once it was read')
})

t.test('row 43: an agent that reads nothing at all is cut after limits.stall, and its upstream with it', async (t) => {
  const block = Buffer.alloc(1 << 20, 'x')
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n')
    const more = (): void => { while (!socket.destroyed && socket.write(block)); }
    socket.on('drain', more)
    more()
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin, '', { limits: { stall: 300 } })
  const { head } = open(url, { key, method: 'GET' })
  await head
  await eventually(() => upstream.sockets[0]?.destroyed === true)
  await sidecar.until(({ event }) => event === 'stream_closed')
  t.pass('the upstream\'s connection was closed')
})

t.test('row 31: an upstream that breaks off closes the agent\'s connection, so that half an answer never looks whole', async (t) => {
  for (const head of ['content-length: 1000\r\n', 'transfer-encoding: chunked\r\n']) {
    const body = head.startsWith('transfer') ? '5\r\nhello\r\n' : 'hello'
    const upstream = await startRawUpstream(t, (socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${head}\r\n${body}`, () => setTimeout(() => socket.resetAndDestroy(), 20))
    })
    const { url, key, sidecar } = await startFlow(t, upstream.origin)
    const ending = await drain(await open(url, { key }).head)
    t.same(ending, { text: 'hello', complete: false })
    t.match(await sidecar.until(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_UNREACHABLE', reason: /broke off/ })
    t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'broken', status: 200 })
  }
})

t.test('row 31: one that breaks off in the same moment as its head does so too', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\nhello')
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  await open(url, { key }).head.then(async (response) => {
    t.notOk((await drain(response)).complete)
  }, (error: Error) => t.match(error.message, /socket hang up|ECONNRESET/))
  t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'broken' })
})

t.test('F7: a refresh disturbs no stream and no call under way', async (t) => {
  const refused = new Set<string>()
  const gate = door()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token), (seen, response) => {
    if (seen.method === 'GET') {
      response.writeHead(200, SSE).write('data: before\n\n')
      void gate.opened.then(() => response.end('data: after\n\n'))
    } else if (seen.body.includes('slow')) {
      void gate.opened.then(() => response.end('{"slow":true}'))
    } else {
      response.end('{}')
    }
  }))
  const { url, key, first, issuer } = await startRotating(t, upstream.origin)
  const stream = await open(url, { key, method: 'GET' }).head
  t.equal(await piece(stream), 'data: before\n\n')
  const slow = open(url, { key })
  await eventually(() => upstream.seen.length === 2)
  refused.add(first)
  t.equal((await call(url, { key })).status, 200)
  t.equal(issuer.requests.refresh_token.ok, 1)
  gate.open()
  t.same(await drain(stream), { text: 'data: after\n\n', complete: true })
  t.same(await drain(await slow.head), { text: '{"slow":true}', complete: true })
})
