import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import t from 'tap'
import { openTracing, type OpenTracing } from '../../src/telemetry/otlp.js'
import { call, rpc } from '../helpers/call.js'
import { startCollector, type CollectedSpan, type Collector } from '../helpers/collector.js'
import { eventually, startFlow, startRotating } from '../helpers/peers.js'
import { guarded, startUpstream, type Seen } from '../helpers/upstream.js'

process.env.OTEL_BSP_SCHEDULE_DELAY = '20'

async function tracing (t: Test): Promise<{ collector: Collector, tracing: OpenTracing, warnings: string[] }> {
  const collector = await startCollector(t)
  const warnings: string[] = []
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = collector.origin
  const tracing = openTracing(collector.origin, (reason) => warnings.push(reason))
  t.teardown(async () => await tracing.close())
  return { collector, tracing, warnings }
}

const named = (spans: readonly CollectedSpan[], name: string): CollectedSpan[] => spans.filter((span) => span.name === name)
const parentOf = (spans: readonly CollectedSpan[], span: CollectedSpan | undefined): string | undefined => spans.find(({ spanId }) => spanId === span?.parentSpanId)?.name

t.test('O2: a call is a span with its upstream\'s below it, in the agent\'s trace; the upstream is told of its own', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const upstream = await startUpstream(t)
  const { url, key } = await startRotating(t, upstream.origin, { sidecar: { tracing: given } })
  const [traceId, agentSpan] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  const answer = await call(url, {
    key,
    headers: { traceparent: `00-${traceId}-${agentSpan}-01`, tracestate: 'rojo=00f067aa0ba902b7', baggage: 'run=7' },
    body: rpc('tools/call', { name: 'search', arguments: {} }),
  })
  t.equal(answer.status, 200)
  const spans = await collector.until('tools/call')
  const [of, below] = [named(spans, 'tools/call')[0], named(spans, 'upstream')[0]]
  t.match(of, { traceId, parentSpanId: agentSpan, kind: 2, failed: false, traceState: 'rojo=00f067aa0ba902b7' })
  t.match(of?.attributes, {
    'mcp.method.name': 'tools/call',
    'gen_ai.tool.name': 'search',
    'http.request.method': 'POST',
    'http.response.status_code': 200,
    'mcp_valet.upstream': 'tools',
    'mcp_valet.agent': 'tester',
    'mcp_valet.outcome': 'ok',
    'mcp_valet.attempts': 1,
    'mcp_valet.refreshed': false,
    'mcp_valet.overhead': Number,
    'mcp_valet.request_id': String,
  })
  t.match(of?.resource, { 'service.name': 'mcp-valet', 'service.version': String })
  t.match(below, { traceId, parentSpanId: of?.spanId, kind: 3, failed: false })
  t.match(below?.attributes, { 'server.address': '127.0.0.1', 'server.port': Number(new URL(upstream.origin).port), 'http.response.status_code': 200 })
  t.ok((of as CollectedSpan).start <= (below as CollectedSpan).start && (below as CollectedSpan).end <= (of as CollectedSpan).end, 'within it')

  const { headers, rawHeaders } = upstream.seen[0] as Seen
  t.equal(headers.traceparent, `00-${traceId}-${below?.spanId}-01`)
  t.match(headers, { tracestate: 'rojo=00f067aa0ba902b7', baggage: 'run=7', authorization: /^Bearer / })
  t.equal(rawHeaders.filter((name) => name.toLowerCase() === 'traceparent').length, 1)
})

t.test('O2: a replay is a span with the wait for the renewal and the second attempt below it', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, first } = await startRotating(t, upstream.origin, { sidecar: { tracing: given } })
  refused.add(first)
  t.equal((await call(url, { key })).status, 200)
  const spans = await collector.until('tools/list')
  t.match(named(spans, 'tools/list')[0]?.attributes, { 'mcp_valet.outcome': 'replayed', 'mcp_valet.attempts': 2, 'mcp_valet.refreshed': true })
  const [refusal, success] = named(spans, 'upstream')
  t.match(refusal, { failed: true, attributes: { 'http.response.status_code': 401, 'error.type': '401' } })
  t.equal(parentOf(spans, refusal), 'tools/list')
  t.match(success, { failed: false, attributes: { 'http.response.status_code': 200, 'http.request.resend_count': 1 } })
  t.equal(parentOf(spans, success), 'replay')
  t.match(named(spans, 'replay')[0]?.attributes, { 'mcp_valet.refused_with': 401, 'mcp_valet.outcome': 'mended' })
  t.match(named(spans, 'refresh')[0]?.attributes, { 'mcp_valet.trigger': 'rejected', 'mcp_valet.outcome': 'ok' })
  t.equal(parentOf(spans, named(spans, 'refresh')[0]), 'replay')
  t.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1, 'one trace, of its own as the agent sent none')
  t.equal(named(spans, 'tools/list')[0]?.parentSpanId, '')
  t.not(upstream.seen[0]?.headers.traceparent, upstream.seen[1]?.headers.traceparent, 'each attempt has its own span')
})

t.test('O2: a renewal that no call waited for is a trace of its own', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const upstream = await startUpstream(t)
  const { sidecar } = await startRotating(t, upstream.origin, { sidecar: { tracing: given } })
  await sidecar.credentials.refresh('alice', 'tools')
  const [span] = named(await collector.until('refresh'), 'refresh')
  t.match(span, { parentSpanId: '', kind: 1, failed: false, attributes: { 'mcp_valet.trigger': 'manual', 'mcp_valet.outcome': 'ok', 'mcp_valet.upstream': 'tools', 'mcp_valet.credential_type': 'refresh_token' } })
  t.ok((span as CollectedSpan).end > (span as CollectedSpan).start, 'it took as long as it did')
})

t.test('O2: a call that fails, and one whose credential cannot be had, say why', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const upstream = await startUpstream(t)
  const flow = await startFlow(t, upstream.origin, '', { tracing: given })
  t.equal((await call(flow.url, { key: 'vk_nobody' })).status, 401)
  t.match(named(await collector.until('tools/list'), 'tools/list')[0], { failed: false, kind: 2, attributes: { 'http.response.status_code': 401, 'error.type': 'ERR_SESSION_UNKNOWN', 'mcp_valet.outcome': 'error', 'mcp_valet.attempts': 0 } })
  upstream.server.closeAllConnections()
  upstream.server.close()
  t.equal((await call(flow.url, { key: flow.key, body: rpc('prompts/list') })).status, 502)
  const spans = await collector.until('prompts/list')
  t.match(named(spans, 'prompts/list')[0], { failed: true, attributes: { 'error.type': 'ERR_UPSTREAM_UNREACHABLE' } })
  t.match(named(spans, 'upstream')[0], { failed: true, attributes: { 'error.type': /^ECONNREFUSED$|^UND_ERR_SOCKET$/ } })

  const dead = await startRotating(t, upstream.origin, { sidecar: { tracing: given } })
  await dead.issuer.close()
  await t.rejects(dead.sidecar.credentials.refresh('alice', 'tools'))
  await eventually(() => named(collector.spans, 'refresh').some(({ failed }) => failed))
  const failed = named(collector.spans, 'refresh').find((span) => span.failed)
  t.match(failed?.attributes, { 'mcp_valet.trigger': 'manual', 'mcp_valet.outcome': 'unavailable', 'error.type': 'unavailable' })
})

t.test('O2: a stream is a span once the agent has left, which is no failure of its upstream', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n') })
  const { url, key } = await startFlow(t, upstream.origin, '', { tracing: given })
  const leave = new AbortController()
  const stream = await fetch(url, { headers: { 'x-session-key': key, accept: 'text/event-stream' }, signal: leave.signal })
  t.equal(stream.status, 200)
  leave.abort()
  const spans = await collector.until('GET')
  t.match(named(spans, 'GET')[0], { failed: false, attributes: { 'mcp_valet.outcome': 'ok' } })
  t.notOk('mcp.method.name' in (named(spans, 'GET')[0]?.attributes ?? {}))
  t.match(named(await collector.until('upstream'), 'upstream')[0], { failed: false })
})

t.test('O2: whoever says that its trace is not recorded is not recorded, and is passed on so', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, '', { tracing: given })
  const traceId = randomBytes(16).toString('hex')
  await call(url, { key, headers: { traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-00` } })
  t.match(upstream.seen[0]?.headers.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`))
  await call(url, { key, headers: { traceparent: 'none', tracestate: 'a=1' }, body: rpc('ping') })
  const spans = await collector.until('ping')
  t.notOk(spans.some((span) => span.traceId === traceId))
  t.notOk('tracestate' in (upstream.seen[1]?.headers ?? {}), 'which belongs to a trace that cannot be understood')
  t.match(upstream.seen[1]?.headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
})

t.test('O2: no token, key or principal is in what is sent, and no name is long', async (t) => {
  const { collector, tracing: given } = await tracing(t)
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, env, first } = await startRotating(t, upstream.origin, { sidecar: { tracing: given } })
  refused.add(first)
  await call(`${url}?token=in-the-query`, { key, body: rpc('tools/call', { name: 'x'.repeat(5_000), arguments: { secret: 'in-the-arguments' } }) })
  await collector.until('tools/call')
  const sent = collector.text()
  for (const secret of [key, first, ...Object.values(env), 'alice', 'in-the-query', 'in-the-arguments']) t.notOk(sent.includes(secret as string), String(secret).slice(0, 3))
  t.notOk(sent.includes('x'.repeat(257)))
})

t.test('O2: a collector that fails is told of once, costs no call, and is told of again when it has worked meanwhile', async (t) => {
  const { collector, tracing: given, warnings } = await tracing(t)
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, '', { tracing: given })
  const failures = async (count: number): Promise<void> => {
    collector.status = 400
    for (let nth = 0; nth < count; nth++) {
      const before = collector.requests
      t.equal((await call(url, { key })).status, 200)
      while (collector.requests === before) await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  await failures(3)
  t.strictSame(warnings, [`traces cannot be sent to ${collector.origin} (it answered 400): spans are dropped until they can, and calls go on`])
  collector.status = 200
  await call(url, { key, body: rpc('ping') })
  await collector.until('ping')
  await failures(2)
  t.equal(warnings.length, 2)
})

t.test('O2: what the environment has wrong is said when it begins', async (t) => {
  process.env.OTEL_TRACES_SAMPLER = 'sometimes'
  t.teardown(() => { delete process.env.OTEL_TRACES_SAMPLER })
  const { warnings } = await tracing(t)
  t.match(warnings, [/OTEL_TRACES_SAMPLER value "sometimes" invalid/])
})
