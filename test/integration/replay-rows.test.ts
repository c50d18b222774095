import { randomBytes } from 'node:crypto'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { door, eventually, startFlow, startRawUpstream, startRotating, rawAnswer } from '../helpers/peers.js'
import { answerJson, guarded, startUpstream } from '../helpers/upstream.js'

const BODIES: Record<string, Buffer> = {
  'odd UTF-8': Buffer.from('{"jsonrpc":"2.0","id":"\u{1F600}é\u2028","method":"tools/call","params":{"name":"x","t":"\\ud83d \u0000\u{10FFFF}"}}'.replace('\u0000', '')),
  'bytes that are no UTF-8': Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"ping","x":"'), Buffer.from([0xff, 0xfe, 0x80, 0xc3]), Buffer.from('"}')]),
  whitespace: Buffer.from('\r\n\t { "jsonrpc" :\t"2.0" ,\n "id":1.50, "method":"ping" }\r\n\r\n '),
  'three megabytes': Buffer.from(rpc('tools/call', { name: 'x', blob: randomBytes(3 << 19).toString('base64') })),
}

for (const [what, body] of Object.entries(BODIES)) {
  t.test(`row 23: a replay sends the same method, path, headers and bytes: ${what}`, async (t) => {
    const refused = new Set<string>()
    const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
    const { url, key, first } = await startRotating(t, upstream.origin)
    refused.add(first)
    const answer = await call(`${url}/below?q=%20x&q=2`, { key, body, headers: { 'mcp-param-odd': 'a, b', 'content-type': 'application/json; charset=utf-8' } })
    t.equal(answer.status, 200)
    const [before, after] = upstream.seen
    t.equal(upstream.seen.length, 2)
    t.ok(before?.body.equals(body) && after?.body.equals(body), 'both attempts carried the bytes that came')
    t.equal(before?.headers['content-length'], String(body.length))
    t.same([after?.method, after?.url], [before?.method, before?.url])
    const rest = (headers: object): object => ({ ...headers, authorization: '', 'x-api-key': '' })
    t.same(rest(after?.headers ?? {}), rest(before?.headers ?? {}), 'nothing differs but the credential')
    t.not(after?.headers.authorization, before?.headers.authorization)
  })
}

t.test('row 24: an upstream that always says 401 is asked 1 + replays times, and then it is a 502 with our code', async (t) => {
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key, sidecar } = await startRotating(t, upstream.origin, { upstream: 'replays: 2, backoff: { base: 1ms, max: 5ms }' })
  const answer = await call(url, { key })
  t.equal(answer.status, 502)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNAUTHORIZED')
  t.equal(answer.json().id, 1)
  t.equal(answer.headers['www-authenticate'], undefined)
  t.ok(upstream.seen.length > 1 && upstream.seen.length <= 3, `${upstream.seen.length} attempts`)
  t.equal(sidecar.events.filter(({ event }) => event === 'replayed').length, upstream.seen.length - 1)
})

t.test('row 24: replays: 0 refuses at the first 401 and refreshes nothing', async (t) => {
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key, issuer } = await startRotating(t, upstream.origin, { upstream: 'replays: 0' })
  t.equal(errorCode(await call(url, { key })), 'ERR_UPSTREAM_UNAUTHORIZED')
  t.equal(upstream.seen.length, 1)
  t.equal(issuer.requests.refresh_token.ok, 0)
})

t.test('row 24: no replay begins after the deadline', async (t) => {
  const refused = new Set<string>()
  const gate = door()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, first } = await startRotating(t, upstream.origin, {
    upstream: 'deadline: 100ms',
    issuer: { onTokenRequest: async (_params, next) => { await gate.opened; return await next() } },
  })
  refused.add(first)
  const answer = await call(url, { key })
  gate.open()
  t.equal(answer.status, 503)
  t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.equal(upstream.seen.length, 1)
})

t.test('row 24: a source that has only the refused token costs no second attempt', async (t) => {
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key } = await startFlow(t, upstream.origin)
  t.equal(errorCode(await call(url, { key })), 'ERR_UPSTREAM_UNAUTHORIZED')
  t.equal(upstream.seen.length, 1)
})

t.test('row 24: a second refusal waits before it is tried again, and may then be taken', async (t) => {
  let count = 0
  const upstream = await startUpstream(t, (seen, response, request) => guarded(() => ++count === 3)(seen, response, request))
  const { url, key, sidecar } = await startRotating(t, upstream.origin, { upstream: 'backoff: { base: 20ms, max: 20ms }' })
  t.equal((await call(url, { key })).status, 200)
  t.equal(upstream.seen.length, 3)
  const outcomes = sidecar.events.flatMap((event) => event.event === 'replayed' ? [event.outcome] : [])
  t.same(outcomes, ['refused', 'mended'])
})

t.test('row 25: a hundred late 401s for an old token cost one refresh', async (t) => {
  const refused = new Set<string>()
  const held: Array<() => void> = []
  const upstream = await startUpstream(t, (seen, response, request) => {
    const answer = (): void => guarded((token) => !refused.has(token))(seen, response, request)
    if (held.length < 100) held.push(answer)
    else answer()
  })
  const { url, key, first, issuer } = await startRotating(t, upstream.origin)
  const calls = Array.from({ length: 100 }, async (_, id) => await call(url, { key, body: rpc('ping', {}, id) }))
  await eventually(() => held.length === 100)
  refused.add(first)
  // Half of them are refused after the refresh that the first half brought about.
  for (const answer of held.slice(0, 50)) answer()
  await eventually(() => upstream.seen.length >= 150)
  for (const answer of held.slice(50)) answer()
  const answers = await Promise.all(calls)
  t.ok(answers.every(({ status }) => status === 200))
  t.same(answers.map((answer) => answer.json().id), Array.from({ length: 100 }, (_, id) => id))
  t.equal(issuer.requests.refresh_token.ok, 1)
})

t.test('row 26: a plain 403 refreshes once per token, and the agent reads it', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(403, { 'content-type': 'text/plain' }).end('not you') })
  const { url, key, issuer } = await startRotating(t, upstream.origin)
  const first = await call(url, { key })
  t.same([first.status, first.body], [403, 'not you'])
  t.equal(issuer.requests.refresh_token.ok, 1, 'a token got just now that is denied too is denied in earnest')
  t.equal(upstream.seen.length, 2)
  for (let i = 0; i < 5; i++) t.equal((await call(url, { key })).status, 403)
  t.equal(issuer.requests.refresh_token.ok, 1, 'denials in earnest cost nothing more')
  t.equal(upstream.seen.length, 7)
})

t.test('row 26: a 403 whose refresh brings nothing new goes to the agent as it was', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(403).end('forbidden') })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.same([answer.status, answer.body], [403, 'forbidden'])
  t.equal(upstream.seen.length, 1)
})

t.test('row 26: a 403 for a stale token is mended by a refresh', async (t) => {
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token), answerJson, 403))
  const { url, key, first } = await startRotating(t, upstream.origin)
  refused.add(first)
  t.equal((await call(url, { key })).status, 200)
})

t.test('row 26: with refresh_on: [401] a 403 is an answer like any other', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(403).end() })
  const { url, key, issuer } = await startRotating(t, upstream.origin, { upstream: 'refresh_on: [401]' })
  t.equal((await call(url, { key })).status, 403)
  t.equal(issuer.requests.refresh_token.ok, 0)
})

t.test('row 27: insufficient_scope is passed on and refreshes nothing', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => {
    response.writeHead(403, { 'www-authenticate': 'Bearer error="insufficient_scope", scope="admin"' }).end('scope')
  })
  const { url, key, issuer } = await startRotating(t, upstream.origin)
  const answer = await call(url, { key })
  t.same([answer.status, answer.body], [403, 'scope'])
  t.equal(answer.headers['www-authenticate'], undefined, 'its challenge is not for agents')
  t.same([upstream.seen.length, issuer.requests.refresh_token.ok], [1, 0])
})

t.test('row 30: a POST whose connection resets is not sent again', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => { socket.resetAndDestroy() })
  const { url, key } = await startFlow(t, upstream.origin)
  const answer = await call(url, { key })
  t.equal(answer.status, 502)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.equal(upstream.requests.length, 1)
})

t.test('row 30: nor is one whose kept connection resets under it', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    if (upstream.requests.length === 1) socket.write(rawAnswer('{}'))
    else socket.resetAndDestroy()
  })
  const { url, key } = await startFlow(t, upstream.origin)
  t.equal((await call(url, { key })).status, 200)
  t.equal((await call(url, { key })).status, 502)
  t.equal(upstream.requests.length, 2)
})

for (const method of ['GET', 'DELETE']) {
  t.test(`row 30: a ${method} whose connection resets is not sent again either`, async (t) => {
    const upstream = await startRawUpstream(t, (socket) => { socket.destroy() })
    const { url, key } = await startFlow(t, upstream.origin)
    t.equal((await call(url, { key, method })).status, 502)
    t.equal(upstream.requests.length, 1)
  })
}

t.test('row 30: a replay whose connection resets is not sent again', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    if (upstream.requests.length === 1) socket.write(rawAnswer('no', '', '401 Unauthorized'))
    else socket.resetAndDestroy()
  })
  const { url, key, sidecar } = await startRotating(t, upstream.origin)
  t.equal(errorCode(await call(url, { key })), 'ERR_UPSTREAM_UNREACHABLE')
  t.equal(upstream.requests.length, 2)
  t.match(await sidecar.until(({ event }) => event === 'replayed'), { status: 401, outcome: 'failed', attempt: 2 })
})
