import { randomBytes } from 'node:crypto'
import t from 'tap'
import { call } from '../helpers/call.js'
import { startRotating } from '../helpers/peers.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

t.test('O2: traceparent, tracestate and baggage are passed on as they came, by GET and POST, and again by a replay', async (t) => {
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, first } = await startRotating(t, upstream.origin)
  // W3C Trace Context §3.2 and §3.3, and Baggage §3.
  const trace = {
    traceparent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`,
    tracestate: 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE',
    baggage: 'agent=planner,run=7;step=2',
  }
  await call(url, { key, headers: trace })
  await call(url, { key, headers: trace, method: 'GET' })
  refused.add(first)
  t.equal((await call(url, { key, headers: trace })).status, 200)
  t.equal(upstream.seen.length, 4, 'one of them twice')
  for (const { headers } of upstream.seen) t.match(headers, trace)
})

t.test('O2: whoever sends no trace gets none', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startRotating(t, upstream.origin)
  await call(url, { key })
  for (const name of ['traceparent', 'tracestate', 'baggage']) t.notOk(name in (upstream.seen[0]?.headers ?? {}), name)
})

t.test('O2: a trace of several headers is passed on as such, and is no way in for another header', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startRotating(t, upstream.origin)
  await call(url, { key, headers: { tracestate: ['a=1', 'b=2'] } })
  const at = (name: string): string[] => upstream.seen[0]?.rawHeaders.filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name) ?? []
  t.equal(at('tracestate').join(', ').replaceAll(/,\s*/g, ','), 'a=1,b=2')
  t.match(at('authorization'), [/^Bearer /])
  t.equal(at('authorization').length, 1)
})
