import type { ServerResponse } from 'node:http'
import fc from 'fast-check'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { PATTERNS, refusal, result, send, startHidden } from '../helpers/hidden.js'
import { manualClock } from '../helpers/manual-clock.js'
import { door, drain, eventually, freshToken, open, piece, startFlow, startRawUpstream } from '../helpers/peers.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { answerTools, namesIn } from '../helpers/tool-server.js'
import { startUpstream, type Answer, type Seen } from '../helpers/upstream.js'

const SSE = { 'content-type': 'text/event-stream' }
const JSON_TYPE = { 'content-type': 'application/json' }
const PRIMING = 'retry: 100\nid: 7\ndata:\n\n'
const event = (text: string): string => `data: ${text}\n\n`
const tool = rpc('tools/call', { name: 'book' })
const turns = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve, 50))

/** A sidecar that knows the patterns before an upstream that answers as it is told, with an API token. */
async function before (t: Parameters<typeof startUpstream>[0], answer: Answer, more = '') {
  const upstream = await startUpstream(t, answer)
  const clock = manualClock()
  return { upstream, clock, ...await startFlow(t, upstream.origin, PATTERNS + more, { clock }) }
}

t.test('F2: a stream opens with its first event that says something, and all before it comes with it', async (t) => {
  let response!: ServerResponse
  const { url, key } = await before(t, (_seen, answer) => { response = answer; answer.writeHead(200, SSE).write(PRIMING) })
  const { head } = open(url, { key, body: tool })
  await eventually(() => response !== undefined)
  let begun = false
  void head.then(() => { begun = true })
  await turns()
  t.notOk(begun, 'an empty event says nothing')
  response.write(': still there\n\n')
  await turns()
  t.notOk(begun, 'nor does a comment')
  response.write(event('{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'))
  const answer = await head
  t.equal(await piece(answer), `${PRIMING}: still there\n\n${event('{"jsonrpc":"2.0","method":"notifications/progress","params":{}}')}`)
  response.end(event(refusal()))
  t.same(await drain(answer), { text: event(refusal()), complete: true }, 'the call had been taken, so what follows is its answer')
})

for (const [type, begun, rest] of [[SSE, PRIMING, event(refusal())], [JSON_TYPE, ' \n', refusal()]] as const) {
  t.test(`F2: what says nothing for five seconds passes on, and is held no more: ${type['content-type']}`, async (t) => {
    let response!: ServerResponse
    const { url, key, clock, upstream } = await before(t, (_seen, answer) => { response = answer; answer.writeHead(200, type).write(begun) })
    const { head } = open(url, { key, body: tool })
    await eventually(() => response !== undefined)
    await turns()
    await clock.advance(5_000)
    const answer = await head
    t.equal(await piece(answer), begun)
    response.end(rest)
    t.same(await drain(answer), { text: rest, complete: true })
    t.equal(upstream.seen.length, 1)
    t.equal(clock.timers, 0)
  })
}

t.test('F2: a stream that ends after its empty first event, to be resumed, passes on at once', async (t) => {
  const { url, key, clock } = await before(t, (_seen, response) => { response.writeHead(200, SSE).end(PRIMING) })
  t.equal((await call(url, { key, body: tool })).body, PRIMING)
  t.equal(clock.timers, 0)
})

t.test('F2: an answer that is longer than any refusal passes on before it has ended', async (t) => {
  const gate = door()
  const long = JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -32001, message: 'x'.repeat(200_000) } })
  for (const headers of [{}, { 'content-length': String(long.length) }]) {
    const { url, key, upstream } = await before(t, (_seen, response) => {
      response.writeHead(200, { ...JSON_TYPE, ...headers }).write(long.slice(0, 100_000))
      void gate.opened.then(() => response.end(long.slice(100_000)))
    })
    const answer = await open(url, { key, body: tool }).head
    gate.open()
    t.same(await drain(answer), { text: long, complete: true })
    t.equal(upstream.seen.length, 1)
  }
})

t.test('row 32: an agent that leaves while an answer is held ends the upstream call', async (t) => {
  for (const type of [SSE, JSON_TYPE]) {
    let [begun, closed] = [false, false]
    const { url, key, sidecar, clock } = await before(t, (_seen, response) => {
      response.writeHead(200, type).write(' ')
      response.on('close', () => { closed = true })
      begun = true
    })
    const { request } = open(url, { key, body: tool })
    await eventually(() => begun)
    await turns()
    request.destroy()
    await eventually(() => closed)
    t.match(await sidecar.until((event) => event.event === 'call'), { outcome: 'aborted', status: 0 })
    t.equal(clock.timers, 0)
  }
})

t.test('row 32: so does one that leaves while the token is renewed, and nothing is sent again', async (t) => {
  const gate = door()
  let asked = false
  const { url, key, upstream } = await startHidden(t, send('json', refusal()), undefined, { issuer: { onTokenRequest: async (_params, next) => { asked = true; await gate.opened; return await next() } } })
  const { request } = open(url, { key, body: tool })
  await eventually(() => asked)
  request.destroy()
  await turns()
  gate.open()
  await turns()
  t.equal(upstream.seen.length, 1)
  t.equal((await call(url, { key, body: tool })).body, result())
})

t.test('row 30: JSON whose connection breaks while it is held is an unreachable upstream', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"jsonrpc"')
    setTimeout(() => socket.resetAndDestroy(), 20)
  })
  const { url, key } = await startFlow(t, upstream.origin, PATTERNS)
  const answer = await call(url, { key, body: tool })
  t.same([answer.status, errorCode(answer), upstream.requests.length], [502, 'ERR_UPSTREAM_UNREACHABLE', 1])
})

t.test('row 30: of a stream that breaks the agent gets what had come, and can resume by it', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${PRIMING.length.toString(16)}\r\n${PRIMING}\r\n`)
    setTimeout(() => socket.resetAndDestroy(), 20)
  })
  const { url, key, sidecar } = await startFlow(t, upstream.origin, PATTERNS)
  t.same(await drain(await open(url, { key, body: tool }).head), { text: PRIMING, complete: false })
  t.match(await sidecar.until((event) => event.event === 'call'), { outcome: 'broken', code: 'ERR_UPSTREAM_UNREACHABLE' })
})

t.test('row 30: of one of which nothing had come it gets an error', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
    setTimeout(() => socket.resetAndDestroy(), 20)
  })
  const { url, key } = await startFlow(t, upstream.origin, PATTERNS)
  t.equal(errorCode(await call(url, { key, body: tool })), 'ERR_UPSTREAM_UNREACHABLE')
})

t.test('row 30: a refusal in a stream that breaks while the token is renewed is replayed, or given back as it came', async (t) => {
  for (const down of [false, true]) {
    const gate = door()
    let asked = false
    let connection: ServerResponse | undefined
    const { url, key, stale, renewals } = await startHidden(t, (_seen, response) => { connection = response; response.writeHead(200, SSE).write(PRIMING + event(refusal())) }, undefined, {
      upstream: 'deadline: 1s',
      issuer: { onTokenRequest: async (_params, next) => { asked = true; await gate.opened; return down ? { status: 503 } : await next() } },
    })
    const { head } = open(url, { key, body: tool })
    await eventually(() => asked)
    connection?.socket?.resetAndDestroy()
    await turns()
    gate.open()
    t.same(await drain(await head), down ? { text: PRIMING + event(refusal()), complete: false } : { text: result(), complete: true })
    t.ok(renewals() >= 1 && stale.size === 1)
  }
})

t.test('F2: a refusal that is given back arrives whole, with all that the upstream sends behind it', async (t) => {
  const gate = door()
  const behind = event('{"jsonrpc":"2.0","method":"notifications/message"}').repeat(5_000)
  const refused: Answer = (_seen, response) => {
    response.writeHead(200, SSE).write(PRIMING + event(refusal()))
    void gate.opened.then(() => response.end(behind))
  }
  const { url, key } = await startHidden(t, refused, refused)
  const answer = await open(url, { key, body: tool }).head
  gate.open()
  t.same(await drain(answer), { text: PRIMING + event(refusal()) + behind, complete: true })
  t.same(await drain(await open(url, { key, body: tool }).head), { text: PRIMING + event(refusal()) + behind, complete: true })
})

t.test('F2: the connection of a refusal that was replayed is used again, or closed where it has no end', async (t) => {
  let closed = 0
  const { url, key, stale } = await startHidden(t, (_seen, response) => {
    response.on('close', () => { closed++ })
    response.writeHead(200, SSE).write(event(refusal()))
  })
  t.equal((await call(url, { key, body: tool })).body, result())
  t.ok(stale.size === 1)
  await eventually(() => closed === 1)
})

t.test('T1: with a tool policy the list is filtered, and held bytes come by it in their order', async (t) => {
  const seen: Seen[] = []
  const names = ['search', 'admin_drop', 'add']
  for (const as of ['json', 'sse'] as const) {
    let stale = ''
    const tools = answerTools({ tools: names, as })
    const upstream = await startUpstream(t, (request, response, raw) => {
      seen.push(request)
      if (request.headers['x-api-key'] === stale) return send(as, refusal())(request, response, raw)
      tools(request, response, raw)
    })
    const env: Record<string, string> = { TOKEN: freshToken() }
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", tools: { deny: ["admin_*"] }, ${PATTERNS} } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env })
    const key = await sidecar.keyFor('alice')
    const url = `${sidecar.proxyUrl}/tools/mcp`
    t.same(namesIn(await call(url, { key, body: rpc('tools/list') })), ['search', 'add'])
    stale = env.TOKEN as string
    env.TOKEN = freshToken()
    t.same(namesIn(await call(url, { key, body: rpc('tools/list') })), ['search', 'add'], 'and so is that of the replay')
    t.match((await call(url, { key, body: rpc('tools/call', { name: 'admin_drop' }) })).json(), { error: { code: -32602 } })
    t.ok(upstream.seen.every(({ headers }) => headers['accept-encoding'] === 'identity'))
  }
})

t.test('O1: the time in which an answer is held is the upstream\'s', async (t) => {
  let response: ServerResponse | undefined
  const { url, key, clock, sidecar } = await before(t, (_seen, answer) => { response = answer; answer.writeHead(200, SSE).write(PRIMING) })
  const waiting = call(url, { key, body: tool })
  await eventually(() => response !== undefined)
  await turns()
  await clock.advance(4_000)
  response?.end(event(result()))
  await waiting
  t.match(await sidecar.until((event) => event.event === 'call'), { first_byte: 4_000, overhead: 0 })
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_streams{upstream="tools"}'), 0)
})

t.test('T2: an answer that is no refusal reaches the agent byte for byte, wherever it is cut', async (t) => {
  let pieces: Buffer[] = []
  let headers: Record<string, string> = {}
  const { url, key } = await before(t, (_seen, response) => {
    response.writeHead(200, headers)
    const next = (): void => {
      const piece = pieces.shift()
      if (piece === undefined) return void response.end()
      response.write(piece)
      setImmediate(next)
    }
    next()
  })
  const part = fc.constantFrom(': c\n\n', '\n', 'retry: 5\r\n\r\n', 'id: 7\ndata:\n\n', 'event: message\n', 'data: é😀\r\n\r\n', event(result()), event(refusal(2)), event('{"method":"x"}'), event('x'.repeat(90_000)), 'data: {')
  const streams = fc.array(part, { maxLength: 6 }).map((parts) => ({ headers: SSE, text: parts.join('') }))
  const bodies = fc.oneof(fc.json(), fc.constantFrom('', result(), refusal(2), '\ufeff{}', 'x'.repeat(150_000), `[${refusal()}]`)).map((text) => ({ headers: JSON_TYPE, text }))
  await fc.assert(fc.asyncProperty(fc.oneof(streams, bodies), fc.array(fc.nat(), { maxLength: 6 }), async ({ headers: type, text }, cuts) => {
    const bytes = Buffer.from(text)
    const at = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b)
    pieces = at.slice(1).map((to, i) => bytes.subarray(at[i], to))
    headers = type
    const answer = await call(url, { key, body: tool })
    return answer.status === 200 && answer.body === text && answer.headers['content-type'] === type['content-type']
  }), { numRuns: 150 })
})
