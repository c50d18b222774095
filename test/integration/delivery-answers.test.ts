import { connect } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { door, eventually, open, rawAnswer, startFlow, startRawUpstream } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'
import { answerJson, startUpstream } from '../helpers/upstream.js'

for (const [status, body] of [[202, ''], [204, ''], [304, ''], [400, '{"error":"which era?"}'], [404, 'no session'], [405, 'not here'], [500, 'oops'], [503, 'busy']] as const) {
  t.test(`row 24: an answer of ${status} passes through as it is, and once`, async (t) => {
    const upstream = await startUpstream(t, (_seen, response) => {
      response.writeHead(status, { 'x-odd': 'kept', 'retry-after': '5', ...(body === '' ? {} : { 'content-type': 'text/plain' }) }).end(body)
    })
    const { url, key } = await startFlow(t, upstream.origin)
    for (const method of ['POST', 'GET', 'DELETE']) {
      const answer = await call(url, { key, method })
      t.same([answer.status, answer.body, answer.headers['x-odd'], answer.headers['retry-after']], [status, body, 'kept', '5'], method)
    }
    t.equal(upstream.seen.length, 3)
  })
}

for (const method of ['HEAD', 'PUT', 'PATCH', 'OPTIONS']) {
  t.test(`row 49: ${method} is 404 and reaches no upstream`, async (t) => {
    const upstream = await startUpstream(t)
    const { url, key } = await startFlow(t, upstream.origin)
    t.equal((await call(url, { key, method })).status, 404)
    t.equal(upstream.seen.length, 0)
  })
}

t.test('row 23: a body of any type and coding reaches the upstream as it came', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin)
  const body = Buffer.from([0, 1, 2, 255])
  for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x', 'application/x-odd; p="q"']) {
    await call(url, { key, body, headers: { 'content-type': type, 'content-encoding': 'br' } })
    const seen = upstream.seen.at(-1)
    t.same([seen?.headers['content-type'], seen?.headers['content-encoding'], seen?.headers['content-length']], [type, 'br', '4'])
    t.ok(seen?.body.equals(body))
  }
})

t.test('row 23: a call without a body, and a DELETE with one, are sent as they are', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin)
  await call(url, { key, body: '', headers: { 'content-type': 'application/json', 'content-length': '0' } })
  await call(url, { key, method: 'DELETE', body: '{"x":1}', headers: { 'content-type': 'application/json', 'content-length': '7' } })
  await call(url, { key, method: 'GET' })
  t.same(upstream.seen.map(({ method, body, headers }) => [method, body.toString(), headers['content-type']]), [
    ['POST', '', 'application/json'], ['DELETE', '{"x":1}', 'application/json'], ['GET', '', undefined],
  ])
})

t.test('row 43: an upstream\'s huge head is refused as no valid answer', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}', `x-huge: ${'h'.repeat(1 << 20)}\r\n`)) })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.equal(answer.status, 502)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_INVALID')
})

t.test('row 42: an upstream that does not speak HTTP is ERR_UPSTREAM_INVALID', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write('SSH-2.0-OpenSSH_9.2\r\n') })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key, body: rpc('ping', {}, 'x') })
  t.equal(answer.status, 502)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_INVALID')
  t.equal(answer.json().id, 'x')
  t.match(await sidecar.until(({ event }) => event === 'failed'), { reason: /^HPE_|HTTPParserError/ })
})

t.test('row 31: informational answers are no answer', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n')
    setTimeout(() => socket.write(rawAnswer('{"late":true}')), 10)
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.same([answer.status, answer.body, answer.headers.link], [200, '{"late":true}', undefined])
  const event = await sidecar.until(({ event }) => event === 'call')
  t.equal(event.event === 'call' && event.upstream_waits.length, 1)
})

t.test('row 42: bytes that nobody asked for never reach the next caller', async (t) => {
  for (const wait of [undefined, 0, 20]) {
    const upstream = await startRawUpstream(t, (socket, { connection }) => {
      const poison = rawAnswer('{"poison":true}')
      if (upstream.requests.length > 1) return void socket.write(rawAnswer(`{"connection":${connection}}`))
      socket.write(rawAnswer('{}') + (wait === undefined ? poison : ''))
      if (wait !== undefined) setTimeout(() => socket.write(poison), wait)
    })
    const { url, key } = await startFlow(t, upstream.origin)
    t.equal((await call(url, { key })).body, '{}')
    await new Promise((resolve) => setTimeout(resolve, (wait ?? 0) + 20))
    t.same((await call(url, { key })).json(), { connection: 2 }, `${wait ?? 'no'} ms later`)
  }
})

t.test('row 42: nor do they reach calls that come in at the same time', async (t) => {
  const upstream = await startRawUpstream(t, (socket, { body }) => {
    const { id } = JSON.parse(body.toString()) as { id: number }
    socket.write(rawAnswer(`{"id":${id}}`) + rawAnswer('{"id":"poison"}'))
  })
  const { url, key } = await startFlow(t, upstream.origin)
  const ids = Array.from({ length: 40 }, (_, id) => id)
  const answers = await Promise.all(ids.map(async (id) => await call(url, { key, body: rpc('ping', {}, id) })))
  t.same(answers.map((answer) => answer.json().id), ids)
})

t.test('row 42: an answer longer than it says keeps its rest to itself', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{}') + 'and more') })
  const { url, key } = await startFlow(t, upstream.origin)
  for (let i = 0; i < 3; i++) t.equal((await call(url, { key })).body, '{}')
})

t.test('row 43: no head within timeouts.headers is 504', async (t) => {
  const upstream = await startRawUpstream(t, () => {})
  const { url, key } = await startFlow(t, upstream.origin, 'timeouts: { headers: 300ms }')
  const answer = await call(url, { key })
  t.equal(answer.status, 504)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_TIMEOUT')
  await eventually(() => upstream.sockets.every(({ destroyed }) => destroyed))
})

t.test('row 55: refused, unresolvable, and not TLS: each is ERR_UPSTREAM_UNREACHABLE with its reason in the log alone', async (t) => {
  const plain = await startUpstream(t)
  const { port } = new URL(plain.origin)
  const sidecar = await startSidecar(t, `
upstreams:
  closed: { url: "http://127.0.0.1:1/mcp", anonymous: [no_principal] }
  nowhere: { url: "http://nowhere.invalid:80/mcp", anonymous: [no_principal] }
  plain: { url: "https://127.0.0.1:${port}/mcp", anonymous: [no_principal] }
`)
  for (const [name, reason] of [['closed', /ECONNREFUSED/], ['nowhere', /ENOTFOUND|EAI_AGAIN/], ['plain', /SSL|TLS|EPROTO/]] as const) {
    const answer = await call(`${sidecar.proxyUrl}/${name}/mcp`)
    t.equal(answer.status, 502, name)
    t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
    t.notMatch(answer.body, reason)
    t.match(await sidecar.until((event) => event.event === 'failed' && event.upstream === name), { reason })
  }
  t.equal(plain.seen.length, 0)
})

t.test('row 55: of a call that was sent, and whose connection broke, agent and log hear that it may have been carried out', async (t) => {
  for (const part of ['', 'HTTP/1.1 100 Continue\r\n\r\n']) {
    const upstream = await startUpstream(t, (_seen, response) => { response.socket?.end(part) })
    const sidecar = await startSidecar(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }`)
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`)
    t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
    t.match(answer.body, /may have carried out the call/)
    t.match(await sidecar.until((event) => event.event === 'failed'), { reason: /^UND_ERR_SOCKET: .*may have been carried out$/ })
    t.equal(upstream.seen.length, 1, 'it is not sent again')
  }
})

t.test('row 55: an upstream that is down, or misconfigured, at the start harms no other and is called once it is there', async (t) => {
  const good = await startUpstream(t)
  const ca = `${t.testdir({})}/ca.pem`
  const sidecar = await startSidecar(t, `
upstreams:
  good: { url: "${good.origin}/mcp", anonymous: [no_principal] }
  down: { url: "http://127.0.0.1:1/mcp", anonymous: [no_principal] }
  broken: { url: "https://127.0.0.1:1/mcp", anonymous: [no_principal], tls: { ca: "${ca}" } }
principals:
  bob: { credentials: { good: { type: api_token, token: { env: NOT_SET } } } }
`)
  t.equal((await fetch(`${sidecar.adminUrl}/readyz`)).status, 200)
  t.match(await sidecar.until(({ event }) => event === 'warning'), { reason: /broken/ })
  t.equal((await call(`${sidecar.proxyUrl}/good/mcp`)).status, 200)
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/down/mcp`)), 'ERR_UPSTREAM_UNREACHABLE')
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/broken/mcp`)), 'ERR_UPSTREAM_UNREACHABLE')
  const failed = sidecar.events.filter((event) => event.event === 'failed' && event.upstream === 'broken')
  t.match(failed, [{ reason: /ca\.pem/ }], 'the file is read again with each call, and named')
  t.equal((await call(`${sidecar.proxyUrl}/good/mcp`)).status, 200)
})

t.test('row 51: closing answers a call under way with its own code, and ends streams', async (t) => {
  const upstream = await startRawUpstream(t, (socket, { head }) => {
    if (head.startsWith('GET')) socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n')
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin, '', { more: 'drain: { calls: 100ms, streams: 50ms }' })
  const waiting = open(url, { key })
  const stream = await open(url, { key, method: 'GET' }).head
  await eventually(() => upstream.requests.length === 2)
  const ended = new Promise((resolve) => stream.once('close', resolve))
  stream.on('error', () => {}).resume()
  await sidecar.close()
  await ended
  t.equal((await waiting.head).statusCode, 503)
  await eventually(() => upstream.sockets.every(({ destroyed }) => destroyed), 'the end of every upstream connection')
})

t.test('row 51: closing lets a call under way end', async (t) => {
  const gate = door()
  const upstream = await startUpstream(t, (seen, response) => { void gate.opened.then(() => answerJson(seen, response)) })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const waiting = call(url, { key })
  await eventually(() => upstream.seen.length === 1)
  const closed = sidecar.close()
  setTimeout(gate.open, 100)
  t.equal((await waiting).status, 200)
  await closed
})

t.test('row 42: an agent that speaks HTTP/1.0 gets an answer that ends with the connection', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.write('{"a":'); response.end('1}') })
  const { url, key } = await startFlow(t, upstream.origin)
  const { port, pathname } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(`GET ${pathname} HTTP/1.0\r\nhost: localhost\r\nx-session-key: ${key}\r\n\r\n`)
  let text = ''
  socket.on('data', (chunk) => { text += chunk })
  await once(socket, 'close')
  t.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n\{"a":1\}$/)
})
