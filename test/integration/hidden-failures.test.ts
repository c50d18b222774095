import t from 'tap'
import { call, rpc } from '../helpers/call.js'
import { PATTERNS, REFUSALS, refusal, result, send, startHidden } from '../helpers/hidden.js'
import { freshToken, startFlow, startRotating } from '../helpers/peers.js'
import { metric } from '../helpers/sidecar.js'
import { bearerOf } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

/** Calls until the answer is the result; a renewal that failed is not tried again at once. */
async function untilMended (once: () => Promise<{ body: string }>): Promise<void> {
  while ((await once()).body !== result()) await new Promise((resolve) => setTimeout(resolve, 20))
}

const tool = (id: string | number = 1): string => rpc('tools/call', { name: 'book' }, id)

for (const [what, text] of Object.entries(REFUSALS)) {
  for (const as of ['json', 'sse'] as const) {
    t.test(`F2: a refusal that ${what} hides is mended, as ${as}`, async (t) => {
      const { url, key, upstream, renewals, sidecar } = await startHidden(t, send(as, text('"a"')), send(as, result('a')))
      const body = tool('a')
      const answer = await call(url, { key, body, headers: { 'accept-encoding': 'gzip, br' } })
      t.equal(answer.status, 200)
      t.match(answer.body, result('a'))
      t.notMatch(answer.body, /-32001|TOKEN_EXPIRED|token_expired/, 'nothing of the refusal')
      t.same(upstream.seen.map((seen) => String(seen.body)), [body, body])
      t.not(bearerOf(upstream.seen[0]), bearerOf(upstream.seen[1]))
      t.same(upstream.seen.map(({ headers }) => headers['accept-encoding']), ['identity', 'identity'], 'what is compressed could not be read')
      t.equal(renewals(), 1)
      const [rejected, replayed] = [sidecar.events.find(({ event }) => event === 'rejected'), sidecar.events.find(({ event }) => event === 'replayed')]
      const pattern = Object.keys(REFUSALS).indexOf(what)
      t.match(rejected, { status: 200, reason: `refresh_on_answer[${Math.max(0, pattern - 1)}]`, replay: true, principal: 'alice', rpc_method: 'tools/call', tool: 'book' })
      t.match(replayed, { status: 200, outcome: 'mended' })
      const metrics = await sidecar.metrics()
      t.equal(metric(metrics, 'mcp_valet_upstream_rejections_total{upstream="tools",status="200"}'), 1)
      t.equal(metric(metrics, 'mcp_valet_replays_total{upstream="tools",status="200",outcome="mended"}'), 1)
    })
  }
}

t.test('F2: without refresh_on_answer such an answer is one like any other', async (t) => {
  const upstream = await startUpstream(t, send('json', refusal()))
  const { url, key, sidecar } = await startRotating(t, upstream.origin)
  const answer = await call(url, { key, headers: { 'accept-encoding': 'gzip' } })
  t.equal(answer.body, refusal())
  t.equal(upstream.seen.length, 1)
  t.equal(upstream.seen[0]?.headers['accept-encoding'], 'gzip')
  t.notOk(sidecar.events.some(({ event }) => event === 'rejected'))
})

t.test('F2: an answer that fits nothing passes as it is, whatever its words', async (t) => {
  const texts = ['{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"code -32001: token expired","data":{"reason":"other"}}}', '{"id":1,"result":{"structuredContent":{"error":{"code":"TOKEN_EXPIRED"}}}}', refusal(2), `[${refusal()}]`, '', '{"error":{"code":-32001', 'null']
  for (const text of texts) {
    const { url, key, renewals } = await startHidden(t, send('json', text))
    const answer = await call(url, { key, body: tool() })
    t.same([answer.status, answer.body, renewals()], [200, text, 0], text)
  }
})

t.test('F1: all who were refused with one token get the next one by one renewal', async (t) => {
  const { url, key, renewals } = await startHidden(t, send('json', refusal()))
  const answers = await Promise.all(Array.from({ length: 40 }, async () => await call(url, { key, body: tool() })))
  t.ok(answers.every(({ body }) => body === result()))
  t.equal(renewals(), 1)
  await call(url, { key, body: tool() })
  t.equal(renewals(), 1)
})

t.test('F2: a server that always answers so costs one renewal for each token, and its answer reaches the agent', async (t) => {
  for (const replays of [1, 2, 5]) {
    const { url, key, upstream, renewals, sidecar } = await startHidden(t, send('json', refusal()), send('json', refusal()), { upstream: `replays: ${replays}` })
    for (let i = 0; i < 5; i++) {
      const answer = await call(url, { key, body: tool() })
      t.same([answer.status, answer.body], [200, refusal()])
    }
    t.equal(renewals(), 1)
    t.equal(upstream.seen.length, 6)
    t.match(sidecar.events.findLast(({ event }) => event === 'rejected'), { replay: false })
    t.match(sidecar.events.find(({ event }) => event === 'replayed'), { outcome: 'refused', status: 200 })
  }
})

t.test('F2: so does one tool that always answers so, while others are taken', async (t) => {
  const other = send('json', result())
  const { url, key, renewals } = await startHidden(t, send('json', refusal()), (seen, response, request) => (String(seen.body).includes('book') ? send('json', refusal()) : other)(seen, response, request))
  for (let i = 0; i < 5; i++) {
    t.equal((await call(url, { key, body: tool() })).body, refusal())
    t.equal((await call(url, { key, body: rpc('ping') })).body, result())
  }
  t.equal(renewals(), 1)
})

t.test('F2: a renewal that failed is tried again by the next call', async (t) => {
  let down = true
  const { url, key, renewals } = await startHidden(t, send('json', refusal()), undefined, {
    upstream: 'deadline: 100ms',
    issuer: { onTokenRequest: async (_params, next) => down ? { status: 503 } : await next() },
  })
  t.equal((await call(url, { key, body: tool() })).body, refusal(), 'the upstream\'s own words, as there is no better token')
  down = false
  await untilMended(async () => await call(url, { key, body: tool() }))
  t.ok(renewals() >= 2)
})

t.test('H2: an API token whose source has a new one is read again', async (t) => {
  let stale = ''
  const upstream = await startUpstream(t, (seen, response, request) => send('json', bearerOf(seen) === stale ? refusal() : result())(seen, response, request))
  const { url, key, env } = await startFlow(t, upstream.origin, PATTERNS)
  stale = env.ALICE as string
  t.equal((await call(url, { key, body: tool() })).body, refusal(), 'there is none yet')
  env.ALICE = freshToken()
  await untilMended(async () => await call(url, { key, body: tool() }))
  t.equal(bearerOf(upstream.seen.at(-1)), env.ALICE)
})

t.test('F5: where the policy allows it, the call goes out without a credential when there is no better one', async (t) => {
  const { url, key } = await startHidden(t, send('json', refusal()), undefined, { upstream: 'anonymous: [refresh_failed], deadline: 100ms', issuer: { onTokenRequest: () => ({ status: 503 }) } })
  t.equal((await call(url, { key, body: tool() })).body, result())
})

t.test('F1: with replays: 0 such an answer is told of, and passes on', async (t) => {
  const { url, key, renewals, sidecar } = await startHidden(t, send('json', refusal()), undefined, { upstream: 'replays: 0' })
  t.equal((await call(url, { key, body: tool() })).body, refusal())
  t.equal(renewals(), 0)
  t.match(sidecar.events.find(({ event }) => event === 'rejected'), { replay: false })
})

t.test('F2: a 401 and a hidden refusal after it do not add up', async (t) => {
  const { url, key, renewals } = await startHidden(t, (_seen, response) => { response.writeHead(401).end() }, send('json', refusal()))
  t.equal((await call(url, { key, body: tool() })).body, refusal())
  t.equal(renewals(), 1)
})

t.test('F2: what is no single request is never sent again', async (t) => {
  const bodies = [`[${tool(1)}]`, `[${tool(1)},${tool(2)}]`, '{"jsonrpc":"2.0","method":"notifications/initialized"}', '{"jsonrpc":"2.0","id":1,"result":{}}', 'no JSON']
  for (const body of bodies) {
    const { url, key, upstream, renewals } = await startHidden(t, send('json', refusal()))
    t.equal((await call(url, { key, body, headers: { 'accept-encoding': 'br' } })).body, refusal(), body)
    t.same([upstream.seen.length, renewals(), upstream.seen[0]?.headers['accept-encoding']], [1, 0, 'br'])
  }
})

t.test('F2: nor is a GET, a DELETE or a call without a credential of its principal', async (t) => {
  const { url, key, upstream } = await startHidden(t, send('sse', refusal()), send('json', refusal()), { upstream: 'anonymous: [no_principal]' })
  for (const method of ['GET', 'DELETE']) t.match((await call(url, { key, method })).body, refusal())
  t.equal((await call(url, { body: tool() })).body, refusal())
  t.equal(upstream.seen.length, 3)
})

t.test('F2: nor an answer with another status', async (t) => {
  for (const status of [201, 400, 404, 500]) {
    const { url, key, upstream } = await startHidden(t, (_seen, response) => { response.writeHead(status, { 'content-type': 'application/json' }).end(refusal()) })
    const answer = await call(url, { key, body: tool() })
    t.same([answer.status, answer.body, upstream.seen.length], [status, refusal(), 1])
  }
})
