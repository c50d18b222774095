import { randomBytes } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { Histogram, Registry } from 'prom-client'
import t from 'tap'
import { ERRORS } from '../../../src/errors.js'
import type { CredentialCensus, ValetEvent } from '../../../src/telemetry/events.js'
import { FastHistogram } from '../../../src/telemetry/histogram.js'
import { faultOf } from '../../../src/telemetry/fault.js'
import { levelOf, messageOf } from '../../../src/telemetry/levels.js'
import { createLog } from '../../../src/telemetry/log.js'
import { createMetrics } from '../../../src/telemetry/metrics.js'
import { metric } from '../../helpers/sidecar.js'
import { TYPESCRIPT } from '../../helpers/typescript.js'

const at = { upstream: 'tools' } as const
const call = { event: 'call', ...at, request_id: 'r', principal: 'alice', agent: 'a', tool: undefined, attempt: 1, method: 'POST', rpc_method: 'ping', status: 200, outcome: 'ok', code: undefined, refreshed: false, first_byte: 2, overhead: 1, upstream_waits: [1] } as const
const refresh = { event: 'refresh', ...at, principal: 'alice', type: 'refresh_token', trigger: 'ahead', duration: 5 } as const
const rejected = { event: 'rejected', ...at, status: 401, token: '0'.repeat(8), reason: 'none given' } as const
const replayed = { event: 'replayed', ...at, status: 401 } as const

const LEVELS: Array<[ValetEvent, string]> = [
  [{ event: 'listening', proxy: 'http://p', admin: 'http://a', upstreams: [], principals: 0 }, 'info'],
  [{ event: 'stopping' }, 'info'], [{ event: 'stopped' }, 'info'], [{ event: 'warning', reason: 'careful' }, 'warn'],
  [call, 'debug'], [{ event: 'stream_opened', ...at }, 'debug'], [{ event: 'stream_closed', ...at }, 'debug'],
  [{ event: 'denied', code: 'ERR_SESSION_UNKNOWN' }, 'warn'], [{ event: 'denied', ...at, tool: 'x', reason: 'tool' }, 'warn'], [{ event: 'anonymous', ...at, reason: 'no_principal' }, 'info'],
  [{ ...rejected, replay: true }, 'info'], [{ ...rejected, replay: false }, 'warn'],
  [{ ...replayed, outcome: 'mended' }, 'info'], [{ ...replayed, outcome: 'refused' }, 'warn'], [{ ...replayed, outcome: 'failed' }, 'warn'],
  [{ ...refresh, outcome: 'ok' }, 'info'], [{ ...refresh, outcome: 'adopted' }, 'info'], [{ ...refresh, outcome: 'unchanged' }, 'info'],
  [{ ...refresh, outcome: 'unavailable' }, 'warn'], [{ ...refresh, outcome: 'unavailable', attempt: 4 }, 'warn'], [{ ...refresh, outcome: 'unavailable', attempt: 5 }, 'debug'], [{ ...refresh, outcome: 'revoked' }, 'error'],
  [{ event: 'failed', ...at, code: 'ERR_UPSTREAM_TIMEOUT', reason: 'x' }, 'warn'], [{ event: 'failed', ...at, code: 'ERR_CREDENTIAL_REVOKED', reason: 'x' }, 'error'],
  [{ event: 'state_failed', ...at, principal: 'alice', reason: 'full' }, 'error'], [{ event: 'internal_error', reason: 'x' }, 'error'],
]

t.test('O4: each event has the level that it deserves, and a sentence', async (t) => {
  for (const [event, level] of LEVELS) {
    t.equal(levelOf(event), level, JSON.stringify(event).slice(0, 80))
    t.match(messageOf(event), /^[a-z].{4,}[^.]$/)
  }
})

t.test('O4: the log has one JSON line an event at or above its level, and no other fields of its own', async (t) => {
  const lines: string[] = []
  const log = await createLog({ level: 'warn', destination: { write: (line: string) => { lines.push(line) } } })
  for (const [event] of LEVELS) log(event)
  t.equal(lines.length, LEVELS.filter(([, level]) => level === 'warn' || level === 'error').length)
  const first = JSON.parse(lines[0] as string) as object
  t.same(Object.keys(first).sort(), ['event', 'level', 'msg', 'reason', 'time'])
})

t.test('O4: without a destination it goes to standard output, as JSON or for people', async (t) => {
  const script = (options: string): string => `
    const { createLog } = await import(${JSON.stringify(new URL('../../../src/telemetry/log.ts', import.meta.url).href)})
    const log = await createLog(${options})
    log({ event: 'warning', reason: 'careful' })
    setTimeout(() => {}, 50)`
  const run = (options: string): string => spawnSync(process.execPath, [TYPESCRIPT, '--input-type=module', '-e', script(options)], { encoding: 'utf8' }).stdout
  t.match(JSON.parse(run('{}')), { level: 'warn', event: 'warning', msg: 'careful' })
  const pretty = run('{ pretty: true }')
  t.match(pretty, /WARN.*careful/)
  t.throws(() => JSON.parse(pretty))
})

t.test('O3: a fault is told by its kind and its place, never by its message', async (t) => {
  const fault = faultOf(new TypeError('holds a secret'))
  t.match(fault, /^TypeError at .*telemetry\.test/)
  t.notMatch(fault, 'secret')
  t.equal(faultOf('holds a secret'), 'something that is no Error was thrown')
  const bare = new Error('x')
  delete bare.stack
  t.equal(faultOf(bare), 'Error')
})

t.test('O2: each event moves the series it should, and only those', async (t) => {
  const census: CredentialCensus[] = [{ upstream: 'tools', states: { valid: 2, expiring: 0, expired: 0, failed: 1, revoked: 0 }, soonest: 12 }]
  const metrics = createMetrics('1.2.3', () => census)
  metrics.know(['tools'])
  for (const [event] of LEVELS) metrics.observe(event)
  metrics.observe({ ...call, outcome: 'aborted', status: 0, first_byte: undefined, overhead: undefined, upstream_waits: [] })
  const { type, text } = await metrics.expose()
  t.match(type, /^text\/plain/)
  const expected: Record<string, number> = {
    'requests_total{upstream="tools",method="POST",rpc_method="ping",status="200",outcome="ok"}': 1,
    'requests_total{upstream="tools",method="POST",rpc_method="ping",status="0",outcome="aborted"}': 1,
    'request_duration_seconds_count{upstream="tools",rpc_method="ping"}': 1,
    'request_duration_seconds_sum{upstream="tools",rpc_method="ping"}': 0.002,
    'overhead_seconds_sum{upstream="tools",refreshed="false"}': 0.001,
    'upstream_duration_seconds_count{upstream="tools"}': 1,
    'token_refresh_total{upstream="tools",type="refresh_token",trigger="ahead",outcome="ok"}': 1,
    'token_refresh_total{upstream="tools",type="refresh_token",trigger="ahead",outcome="revoked"}': 1,
    'token_refresh_duration_seconds_sum{upstream="tools",type="refresh_token"}': 0.035,
    'replays_total{upstream="tools",status="401",outcome="mended"}': 1,
    'upstream_rejections_total{upstream="tools",status="401"}': 2,
    'anonymous_total{upstream="tools",reason="no_principal"}': 1,
    'denied_total{reason="ERR_SESSION_UNKNOWN"}': 1,
    'denied_total{reason="tool"}': 1,
    'failed_total{upstream="tools",code="ERR_UPSTREAM_TIMEOUT"}': 1,
    'failed_total{upstream="tools",code="ERR_CREDENTIAL_REVOKED"}': 1,
    'state_failures_total{upstream="tools"}': 1,
    internal_errors_total: 1,
    'credentials{upstream="tools",state="valid"}': 2,
    'credentials{upstream="tools",state="failed"}': 1,
    'credential_expiry_seconds{upstream="tools"}': 12,
    'streams{upstream="tools"}': 0,
    [`build_info{version="1.2.3",node="${process.versions.node}"}`]: 1,
  }
  for (const [series, value] of Object.entries(expected)) t.equal(metric(text, `mcp_valet_${series}`), value, series)
  census[0] = { ...census[0] as CredentialCensus, soonest: undefined }
  t.notMatch((await metrics.expose()).text, /^mcp_valet_credential_expiry_seconds\{/m, 'an expiry that is gone is not told for ever')
})

t.test('O2: what an alert waits for is there at 0 before it happens, as increase() does not see a count that begins at 1', async (t) => {
  const metrics = createMetrics('1.2.3', () => [])
  metrics.know(['tools'])
  const { text } = await metrics.expose()
  const codes = Object.entries(ERRORS).filter(([code, { status }]) => status >= 500 && code !== 'ERR_INTERNAL').map(([code]) => code)
  for (const series of [...codes.map((code) => `failed_total{upstream="tools",code="${code}"}`), 'state_failures_total{upstream="tools"}', 'internal_errors_total', 'config_reloads_total{outcome="refused"}', 'streams{upstream="tools"}', 'ready']) {
    t.ok(text.includes(`\nmcp_valet_${series} 0\n`), series)
  }
})

t.test('O2: it is ready from when it listens until it stops', async (t) => {
  const metrics = createMetrics('1.2.3', () => [])
  const ready = async (): Promise<number> => metric((await metrics.expose()).text, 'mcp_valet_ready')
  metrics.observe({ event: 'listening', proxy: 'http://p', admin: 'http://a', upstreams: [], principals: 0 })
  t.equal(await ready(), 1)
  metrics.observe({ event: 'stopping' })
  t.equal(await ready(), 0)
})

t.test('O2: the last reload of a config is not made good by secrets that are taken up, but the other way round', async (t) => {
  const metrics = createMetrics('1.2.3', () => [])
  const last = async (): Promise<number[]> => {
    const { text } = await metrics.expose()
    return ['config', 'secrets'].map((cause) => metric(text, `mcp_valet_config_last_reload_successful{cause="${cause}"}`))
  }
  t.same(await last(), [1, 1])
  for (const cause of ['config', 'secrets'] as const) metrics.observe({ event: 'reload_refused', cause, reason: 'x' })
  t.same(await last(), [0, 0])
  metrics.observe({ event: 'reloaded', cause: 'secrets', upstreams: [], principals: 0 })
  t.same(await last(), [0, 1])
  metrics.observe({ event: 'reload_refused', cause: 'secrets', reason: 'x' })
  metrics.observe({ event: 'reloaded', cause: 'config', upstreams: [], principals: 0 })
  t.same(await last(), [1, 1])
  t.match((await metrics.expose()).text, /mcp_valet_config_reloads_total\{outcome="refused"\} 3/)
})

t.test('row 53: statuses that an upstream makes up share one label', async (t) => {
  const metrics = createMetrics('1.2.3', () => [])
  metrics.know(['tools'])
  for (let status = 600; status < 1_000; status++) metrics.observe({ ...call, status })
  const { text } = await metrics.expose()
  t.match(text, 'status="other",outcome="ok"} 400')
  t.equal(text.split('\n').filter((line) => line.startsWith('mcp_valet_requests_total')).length, 1)
})

t.test('row 46: a fault is told by its place, whatever its message looks like', async (t) => {
  const canary = randomBytes(8).toString('hex')
  const fault = faultOf(new TypeError(`x\n    at ${canary} (file:1:1)`))
  t.notMatch(fault, canary)
  t.match(fault, /^TypeError at /)
})

t.test('O2: the fast histogram exposes what prom-client would', async (t) => {
  const bounds = [0.1, 0.5, 1]
  const [ours, theirs] = [new FastHistogram<'upstream'>('h_seconds', 'help', bounds), new Histogram({ name: 'h_seconds', help: 'help', labelNames: ['upstream'], buckets: bounds, registers: [] })]
  for (const [upstream, value] of [['a', 0.05], ['a', 0.1], ['b', 0.7], ['a', 5], ['b', 1], ['b', 0.100001]] as const) {
    ours.observe(upstream, { upstream }, value)
    theirs.observe({ upstream }, value)
  }
  const exposed = async (metric: unknown): Promise<string[]> => {
    const registry = new Registry()
    registry.registerMetric(metric as never)
    return (await registry.metrics()).trim().split('\n').sort()
  }
  t.same(await exposed(ours), await exposed(theirs))
  ours.reset()
  t.same((await ours.get()).values, [])
})
