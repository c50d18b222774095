import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import type { CredentialInfo, SessionInfo } from '../../../src/control.js'
import type { Access } from '../../../src/http/admin/access.js'
import { eventsRoute } from '../../../src/http/admin/events.js'
import type { AdminOptions } from '../../../src/http/admin/options.js'
import { PARTS } from '../../../src/http/admin/schemas.js'
import { requestValidator } from '../../../src/http/admin/validator.js'
import { createApp } from '../../../src/http/server.js'
import { testClock } from '../../helpers/clock.js'
import { eventually } from '../../helpers/peers.js'

const session = (id: string, more: Partial<SessionInfo> = {}): SessionInfo => ({ id, principal: 'alice', agent: 'planner', tools: undefined, expiresAt: undefined, source: 'api', ...more })
const credential = (principal: string, more: Partial<CredentialInfo> = {}): CredentialInfo =>
  ({ principal, upstream: 'tools', type: 'api_token', state: 'valid', source: 'api', expiresAt: undefined, refreshedAt: undefined, token: undefined, error: undefined, ...more })

/** The stream of events before lists that the test makes. */
async function serve (t: Test, sessions: () => SessionInfo[], credentials: () => CredentialInfo[] = () => []) {
  const ending = new AbortController()
  const made = { sessions: 0, credentials: 0, figures: 0 }
  const clock = testClock({ speed: 50 })
  const options = {
    metrics: { figures: async () => { made.figures++; return { credentials: [] } } },
    recent: { since: () => [] },
    ending: ending.signal,
    unready: () => [],
    clock,
    emit: () => {},
    control: { sessions: { list: () => { made.sessions++; return sessions() } }, credentials: { list: () => { made.credentials++; return credentials() } } },
    settings: () => ({ token: undefined, guard: () => undefined }),
  } as unknown as AdminOptions
  const app = createApp() as FastifyInstance
  app.setValidatorCompiler(requestValidator())
  for (const part of PARTS) app.addSchema(part)
  eventsRoute(app, options, { judge: async () => 'granted' } as unknown as Access)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    ending.abort()
    app.server.closeAllConnections()
    await app.close()
  })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/events`
  /** What this watcher has been told of a name so far. */
  const watch = async (query = ''): Promise<(name: string) => Array<{ total: number, items: Array<Record<string, unknown>> }>> => {
    const answer = await fetch(url + query)
    t.equal(answer.status, 200)
    let text = ''
    void (async () => { for await (const chunk of answer.body as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString() })().catch(() => {})
    return (name) => [...text.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].filter(([, event]) => event === name).map(([, , data]) => JSON.parse(data as string))
  }
  return { made, watch, clock }
}

t.test('however many watch, the lists and figures are made once for all of them', async (t) => {
  let nth = 0
  const { made, watch } = await serve(t, () => [session(`ses_${++nth}`)])
  const watchers = await Promise.all(Array.from({ length: 8 }, async (_none, i) => await watch(i < 4 ? '' : `?principal=${i % 2 === 0 ? 'alice' : 'bob'}`)))
  const told = (): number => Math.max(...watchers.map((seen) => seen('figures').length))
  await eventually(() => watchers.every((seen) => seen('figures').length > 0))
  const [before, base] = [{ ...made }, told()]
  await eventually(() => told() >= base + 10)
  const ticks = told() - base
  // What is under way at either end of the count may be one more.
  for (const name of ['sessions', 'credentials', 'figures'] as const) t.ok(made[name] - before[name] <= ticks + 2, `${made[name] - before[name]} ${name} in ${ticks} ticks`)
  const latest = (seen: (typeof watchers)[number]) => seen('sessions').at(-1)
  t.match(latest(watchers[0] as never), { total: 1, items: [{ id: /^ses_/ }] })
  t.match(latest(watchers[4] as never), { total: 1 })
  t.same(latest(watchers[5] as never), { total: 0, items: [] })
})

t.test('who comes is told how things are now', async (t) => {
  let all = [session('ses_1')]
  const { watch } = await serve(t, () => all)
  const first = await watch()
  await eventually(() => first('sessions').length > 0)
  all = [...all, session('ses_2')]
  const second = await watch()
  await eventually(() => second('sessions').length > 0)
  t.equal(second('sessions')[0]?.total, 2)
})

t.test('of very many, those that end soonest are shown, then those without an end, and those that have ended last', async (t) => {
  const now = Date.now()
  const soon = Array.from({ length: 60 }, (_none, i) => session(`ses_z${String(i).padStart(3, '0')}`, { expiresAt: now + 3_600_000 + i * 1_000 }))
  const endless = Array.from({ length: 20 }, (_none, i) => session(`ses_m${String(i).padStart(3, '0')}`))
  const over = Array.from({ length: 2_000 }, (_none, i) => session(`ses_a${i}`, { expiresAt: now - 1_000 - i }))
  const mixed = [...over.slice(0, 1_000), ...soon.toReversed(), ...endless.toReversed(), ...over.slice(1_000)]
  const { watch } = await serve(t, () => mixed)
  const seen = await watch()
  await eventually(() => seen('sessions').length > 0)
  const [told] = seen('sessions')
  t.equal(told?.total, 2_080)
  const ids = told?.items.map(({ id }) => id)
  t.same(ids?.slice(0, 80), [...soon, ...endless].map(({ id }) => id))
  t.equal(ids?.length, 100)
})

t.test('of very many credentials, those that somebody must see to are shown', async (t) => {
  const many = Array.from({ length: 3_000 }, (_none, i) => credential(`p${String(i).padStart(4, '0')}`, { state: i % 1_000 === 999 ? 'revoked' : i % 500 === 7 ? 'failed' : 'valid' }))
  const { watch } = await serve(t, () => [], () => many.toReversed())
  const seen = await watch()
  await eventually(() => seen('credentials').length > 0)
  const [told] = seen('credentials')
  t.same([told?.total, told?.items.length], [3_000, 100])
  t.same(told?.items.slice(0, 10).map(({ principal, state }) => `${String(principal)} ${String(state)}`), [
    'p0999 revoked', 'p1999 revoked', 'p2999 revoked', 'p0007 failed', 'p0507 failed', 'p1007 failed', 'p1507 failed', 'p2007 failed', 'p2507 failed', 'p0000 valid',
  ])
})
