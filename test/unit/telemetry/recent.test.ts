import t from 'tap'
import type { RefreshEvent, ValetEvent } from '../../../src/telemetry/events.js'
import { callFigures, distributionOf } from '../../../src/telemetry/figures.js'
import { createMetrics } from '../../../src/telemetry/metrics.js'
import { RecentEvents } from '../../../src/telemetry/recent.js'
import { manualClock } from '../../helpers/manual-clock.js'

const refresh = (more: Partial<RefreshEvent> = {}): RefreshEvent =>
  ({ event: 'refresh', principal: 'alice', upstream: 'tools', type: 'refresh_token', trigger: 'ahead', outcome: 'ok', duration: 1, token: '0a1b2c3d', ...more })
const call = (more: object = {}): ValetEvent => ({
  event: 'call',
  principal: 'alice',
  agent: 'planner',
  tool: undefined,
  attempt: 1,
  request_id: 'r-1',
  upstream: 'tools',
  method: 'POST',
  rpc_method: 'tools/call',
  status: 200,
  outcome: 'ok',
  code: undefined,
  refreshed: false,
  first_byte: 12,
  overhead: 0.3,
  upstream_waits: [11.7],
  ...more,
})

t.test('what is about authentication is kept in order, and told once to each who asks', async (t) => {
  const clock = manualClock()
  const recent = new RecentEvents(clock)
  recent.observe(refresh())
  recent.observe(call())
  recent.observe({ event: 'stream_opened', upstream: 'tools' })
  await clock.advance(1_000)
  recent.observe({ event: 'rejected', principal: 'alice', upstream: 'tools', status: 401, token: '0a1b2c3d', reason: 'invalid_token', replay: true })
  t.match(recent.since(0), [
    { id: 1, seq: 1, event: 'refresh', level: 'info', message: 'token refreshed', count: 1, fields: { principal: 'alice', upstream: 'tools', trigger: 'ahead', token: '0a1b2c3d' } },
    { id: 2, seq: 2, event: 'rejected', at: clock.now(), fields: { status: 401, reason: 'invalid_token' } },
  ])
  t.equal(recent.since(0).length, 2)
  t.match(recent.since(1), [{ seq: 2 }])
  t.same(recent.since(2), [])
})

t.test('an agent that is refused again and again drives nothing else out', async (t) => {
  const recent = new RecentEvents(manualClock())
  recent.observe(refresh({ outcome: 'revoked', reason: 'invalid_grant' }))
  for (let i = 0; i < 5_000; i++) recent.observe({ event: 'denied', principal: 'alice', agent: 'planner', upstream: 'tools', tool: `made up ${i}`, reason: 'tool' })
  const [first, second, ...more] = recent.since(0)
  t.match([first, second], [{ event: 'refresh' }, { event: 'denied', id: 2, seq: 5_001, count: 5_000, fields: { tool: 'made up 4999' } }])
  t.same(more, [])
})

t.test('it is bounded in number and in size', async (t) => {
  const recent = new RecentEvents(manualClock())
  for (let i = 0; i < 1_000; i++) recent.observe(refresh({ principal: `${i}`.padEnd(10_000, 'x') }))
  const kept = recent.since(0)
  t.equal(kept.length, 200)
  t.match(kept[0], { seq: 801 })
  t.ok(JSON.stringify(kept).length < 200 * 800)
})

t.test('figures are the metrics in short', async (t) => {
  const metrics = createMetrics('1', () => [{ upstream: 'tools', states: { valid: 1, expiring: 0, expired: 0, failed: 0, revoked: 0 }, soonest: 60 }])
  metrics.know(['tools'])
  metrics.observe(call())
  metrics.observe(call({ outcome: 'replayed', refreshed: true, overhead: 40_000, upstream_waits: [5, 5] }))
  metrics.observe(call({ outcome: 'error', status: 502, code: 'ERR_UPSTREAM_UNREACHABLE', first_byte: undefined, overhead: undefined, upstream_waits: [] }))
  metrics.observe(call({ outcome: 'error', status: 401, code: 'ERR_SESSION_UNKNOWN', first_byte: undefined, overhead: undefined, upstream_waits: [] }))
  metrics.observe(call({ outcome: 'broken' }))
  metrics.observe(call({ outcome: 'aborted', status: 0, rpc_method: 'ping', first_byte: undefined, overhead: undefined, upstream_waits: [] }))
  metrics.observe({ event: 'stream_opened', upstream: 'tools' })
  const { calls, overhead, upstream, streams, credentials } = await metrics.figures()
  t.same(calls, [{ upstream: 'tools', rpc_method: 'tools/call', total: 5, failed: 2, refused: 1 }, { upstream: 'tools', rpc_method: 'ping', total: 1, failed: 0, refused: 0 }])
  t.equal(overhead.plain.count, 2)
  t.equal(overhead.plain.counts[overhead.plain.bounds.indexOf(0.0005)], 2)
  t.equal(overhead.refreshed.counts.at(-1), 1, 'above the last bound')
  t.equal(overhead.refreshed.counts.length, overhead.refreshed.bounds.length + 1)
  t.equal(overhead.refreshed.counts.reduce((sum, count) => sum + count), 1)
  t.match([upstream.count, streams], [4, 1])
  t.match(credentials, [{ soonest: 60 }])
  t.notMatch(JSON.stringify({ calls, overhead, upstream, credentials }), /alice|planner/)
})

t.test('no call yet is no figure yet', async (t) => {
  t.same(callFigures([]), [])
  t.same(distributionOf([]), { bounds: [], counts: [], sum: 0, count: 0 })
})
