import t, { type Test } from 'tap'
import { createLog } from '../../src/telemetry/log.js'
import { call, rpc } from '../helpers/call.js'
import { manualClock } from '../helpers/manual-clock.js'
import { freshToken, startFlow, startRawUpstream, startRotating } from '../helpers/peers.js'
import { metric } from '../helpers/sidecar.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

type Line = Record<string, unknown>

/** The lines that `serve` would write, as objects. */
async function collect (level = 'debug'): Promise<{ lines: Line[], onEvent: Awaited<ReturnType<typeof createLog>> }> {
  const lines: Line[] = []
  const onEvent = await createLog({ level, destination: { write: (text: string) => { lines.push(JSON.parse(text) as Line) } } })
  return { lines, onEvent }
}

const loud = (lines: Line[]): Line[] => lines.filter(({ level }) => level === 'warn' || level === 'error')
const of = (lines: Line[], event: string): Line[] => lines.filter((line) => line.event === event)

t.test('O4: normal operation, with refreshes and a mended 401, logs nothing above info', async (t) => {
  const { lines, onEvent } = await collect()
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, first, sidecar } = await startRotating(t, upstream.origin, { sidecar: { onEvent } })
  for (const method of ['POST', 'GET', 'DELETE']) await call(url, { key, method })
  refused.add(first)
  t.equal((await call(url, { key, body: rpc('tools/call', { name: 'search' }) })).status, 200)
  await sidecar.close()
  t.same(loud(lines), [])

  const id = of(lines, 'rejected')[0]?.request_id
  t.type(id, 'string')
  const context = { request_id: id, principal: 'alice', agent: 'tester', upstream: 'tools', rpc_method: 'tools/call', tool: 'search' }
  t.match(of(lines, 'rejected'), [{ ...context, level: 'info', attempt: 1, status: 401, reason: 'invalid_token', token: /^[0-9a-f]{8}$/, replay: true, msg: String }])
  t.match(of(lines, 'replayed'), [{ ...context, level: 'info', attempt: 2, status: 401, outcome: 'mended' }])
  t.match(of(lines, 'refresh').at(-1), { level: 'info', principal: 'alice', upstream: 'tools', type: 'refresh_token', trigger: 'rejected', outcome: 'ok', token: /^[0-9a-f]{8}$/, expires_in: Number, duration: Number })
  t.match(of(lines, 'call').at(-1), { ...context, level: 'debug', status: 200, outcome: 'replayed', attempt: 2 })
  t.match(lines[0], { event: 'listening', level: 'info', proxy: sidecar.proxyUrl, admin: sidecar.adminUrl })
  t.same(lines.filter(({ event }) => event === 'stopping' || event === 'stopped').map(({ event, level }) => [event, level]), [['stopping', 'info'], ['stopped', 'info']])
  for (const line of lines) t.match(line, { level: String, time: /^\d{4}-.*Z$/, msg: /./, event: /./ })
})

t.test('O4: what a caller suffers from is warn, with its context and its reason', async (t) => {
  const { lines, onEvent } = await collect('info')
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key } = await startFlow(t, upstream.origin, '', { onEvent })
  await call(url, { key, body: rpc('tools/call', { name: 'search' }) })
  const context = { principal: 'alice', agent: 'tester', upstream: 'tools', rpc_method: 'tools/call', tool: 'search', level: 'warn' }
  t.match(of(lines, 'failed'), [{ ...context, code: 'ERR_UPSTREAM_UNAUTHORIZED', reason: 'the upstream answered 401', attempt: 1 }])
  t.same(of(lines, 'call'), [], 'and calls themselves are not logged at info')
})

t.test('O4: a call that is refused at the door is warn, with its code', async (t) => {
  const { lines, onEvent } = await collect('info')
  const upstream = await startUpstream(t)
  const { url } = await startFlow(t, upstream.origin, '', { onEvent })
  await call(url, { key: 'vk_no', body: rpc('tools/call', { name: 'x' }) })
  t.match(of(lines, 'denied'), [{ level: 'warn', code: 'ERR_SESSION_UNKNOWN', upstream: 'tools', rpc_method: 'tools/call', request_id: String }])
})

t.test('O4: a call to a path that is no upstream\'s is warn, with the request id that the agent got and the paths there are, and counted', async (t) => {
  const { lines, onEvent } = await collect()
  const upstream = await startUpstream(t)
  const { sidecar, key } = await startFlow(t, upstream.origin, '', { onEvent })
  const canary = freshToken()
  const asked = await call(`${sidecar.proxyUrl}/tolls/mcp?token=${canary}`, { key, body: rpc('tools/call', { name: 'x' }) })
  t.match(of(lines, 'denied'), [{ level: 'warn', code: 'ERR_NOT_FOUND', request_id: String, reason: 'its path is no upstream\'s; there are /tools/mcp' }])
  t.equal(of(lines, 'denied')[0]?.request_id, (JSON.parse(asked.body) as { error: { data: { request_id: string } } }).error.data.request_id)
  t.notMatch(JSON.stringify(lines), canary)
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_denied_total{reason="ERR_NOT_FOUND"}'), 1)
  lines.splice(0)
  for (const path of ['/.well-known/oauth-authorization-server', '/.well-known/oauth-protected-resource/tools/mcp', '/tools/mcp/.well-known/openid-configuration', '/register', '/authorize?client_id=x', '/token']) {
    t.equal((await call(sidecar.proxyUrl + path, { method: path === '/register' ? 'POST' : 'GET' })).status, 404, path)
  }
  t.same(of(lines, 'denied').map(({ level, reason }) => [level, reason]), Array(6).fill(['debug', 'a client looks for an OAuth login, and there is none here']), 'clients do that by themselves')
})

t.test('O4: a call with a session key that has expired says whose it was', async (t) => {
  const { lines, onEvent } = await collect()
  const upstream = await startUpstream(t)
  const clock = manualClock()
  const { url, sidecar } = await startFlow(t, upstream.origin, '', { onEvent, clock })
  const { key, id } = await sidecar.sessions.create({ principal: 'alice', agent: 'planner', ttlMs: 60_000 })
  t.equal((await call(url, { key: key.reveal() })).status, 200)
  await clock.advance(61_000)
  t.equal((await call(url, { key: key.reveal() })).status, 401)
  t.match(of(lines, 'denied'), [{ level: 'warn', code: 'ERR_SESSION_EXPIRED', principal: 'alice', agent: 'planner', session: id, upstream: 'tools', request_id: String }])
  t.match(of(lines, 'call').at(-1), { status: 401, principal: 'alice', agent: 'planner' })
  t.equal(upstream.seen.length, 1)
})

t.test('O4: a grant that is over is error, as a person must act', async (t) => {
  const { lines, onEvent } = await collect('info')
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key } = await startRotating(t, upstream.origin, {
    upstream: 'deadline: 500ms',
    issuer: { onTokenRequest: () => ({ status: 400, body: { error: 'invalid_grant' } }) },
    sidecar: { onEvent },
  })
  await call(url, { key })
  t.match(of(lines, 'refresh').at(-1), { level: 'error', outcome: 'revoked' })
  t.notOk('retry_in' in (of(lines, 'refresh').at(-1) as Line), 'it is not tried again by the clock')
  t.match(of(lines, 'failed'), [{ level: 'error', code: 'ERR_CREDENTIAL_REVOKED' }])
})

t.test('O4: a token endpoint in trouble is warn', async (t) => {
  const { lines, onEvent } = await collect('info')
  const upstream = await startUpstream(t, guarded(() => false))
  const { url, key } = await startRotating(t, upstream.origin, {
    upstream: 'deadline: 200ms',
    issuer: { onTokenRequest: () => ({ status: 503 }) },
    sidecar: { onEvent },
  })
  await call(url, { key })
  t.match(of(lines, 'refresh').at(-1), { level: 'warn', outcome: 'unavailable', reason: String, retry_in: Number })
  t.match(of(lines, 'failed'), [{ level: 'warn', code: 'ERR_CREDENTIAL_UNAVAILABLE' }])
})

t.test('O3: no line holds a token, a key, or what an upstream said', async (t) => {
  const { lines, onEvent } = await collect()
  const canary = freshToken()
  const upstream = await startRawUpstream(t, (socket) => { socket.write(`HTTP/1.1 401 ${canary}\r\nwww-authenticate: Bearer error="${canary}"\r\n${canary}: x\r\ncontent-length: 0\r\n\r\n`) })
  const { url, key, env } = await startFlow(t, upstream.origin, '', { onEvent })
  await call(url, { key, body: rpc('ping', { canary }) })
  const text = JSON.stringify(lines)
  for (const secret of [canary, key, env.ALICE as string]) t.notOk(text.includes(secret))
  t.ok(lines.length > 2)
})

t.test('O2: health says that it lives, readiness that it takes calls, and neither needs a token', async (t: Test) => {
  const upstream = await startUpstream(t)
  const { sidecar } = await startFlow(t, upstream.origin)
  const health = await fetch(`${sidecar.adminUrl}/healthz`)
  t.same([health.status, await health.json()], [200, { status: 'ok' }])
  const ready = await fetch(`${sidecar.adminUrl}/readyz`)
  t.equal(ready.status, 200)
  t.match(await ready.json(), { status: 'ready', reasons: [] })
  t.equal(ready.headers.get('cache-control'), 'no-store')
  const metrics = await fetch(`${sidecar.adminUrl}/metrics`)
  t.match(metrics.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  t.equal((await fetch(`${sidecar.adminUrl}/nothing`)).status, 404)
  t.equal((await fetch(`${sidecar.proxyUrl}/metrics`)).status, 404, 'the proxy has none of it')
})
