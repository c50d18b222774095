import { request as httpRequest } from 'node:http'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createIssuer } from '../../src/demo/issuer.js'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { call, errorCode, rpc } from '../helpers/call.js'
import { manualClock, settled } from '../helpers/manual-clock.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { bearerOf, byRefreshToken, gate, mint, oneUpstream, startOpaqueIssuer } from '../helpers/tokens.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const refreshed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome === 'ok'
/** The nth failure in a row. */
const failure = (nth: number) => (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome !== 'ok' && event.attempt === nth
const nthRefresh = (events: ValetEvent[], nth: number) => () => events.filter(refreshed).length >= nth

t.test('a JWT is refreshed ahead of its expiry: no call waits and the upstream refuses none', async (t) => {
  const clock = manualClock()
  const upstream = await startUpstream(t, guarded((token) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).exp * 1000 > clock.now()))
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 600, now: () => clock.now() })
  t.teardown(issuer.close)
  const { refresh_token: RT } = await issuer.login('alice')
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: refresh_token, issuer: "${issuer.url}", client_id: demo, refresh_token: { env: RT } }`), { env: { RT }, clock })
  const key = await sidecar.keyFor('alice')
  for (let nth = 1; nth <= 3; nth++) {
    await sidecar.until(nthRefresh(sidecar.events, nth))
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
    await settled()
    await clock.advance(460_000)
  }
  await sidecar.until(nthRefresh(sidecar.events, 4))
  t.ok(sidecar.events.filter(refreshed).every(({ trigger }) => trigger === 'ahead'))
  t.equal(sidecar.events.filter(({ event }) => event === 'rejected').length, 0)
  t.equal(new Set(upstream.seen.map(bearerOf)).size, 3, 'each with a token of its own time')
  t.equal(issuer.families.revoked, 0)
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_token_refresh_total{upstream="tools",type="refresh_token",trigger="ahead",outcome="ok"}'), 4)
})

t.test('an API token whose file has been replaced is read again after a 401, and the call replayed', async (t) => {
  const good = mint()
  const file = join(t.testdir({ token: mint() }), 'token')
  chmodSync(file, 0o600)
  const upstream = await startUpstream(t, guarded((token) => token === good))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: api_token, token: { file: "${file}" } }`))
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  writeFileSync(file, good + '\n')
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), good)
  t.equal(upstream.seen.at(-1)?.headers['x-api-key'], good)
})

t.test('an API token is read again from its variable', async (t) => {
  const env = { TOKEN: mint() }
  const good = mint()
  const upstream = await startUpstream(t, guarded((token) => token === good))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, '{ type: api_token, token: { env: TOKEN } }'), { env })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  env.TOKEN = good
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
})

t.test('an API token is read again from its command', async (t) => {
  const good = mint()
  const folder = t.testdir({ token: mint() })
  const upstream = await startUpstream(t, guarded((token) => token === good))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: api_token, token: { command: [cat, "${folder}/token"] } }`), { env: { PATH: process.env.PATH as string } })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  writeFileSync(join(folder, 'token'), good)
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
})

t.test('an API token that is refused and unchanged costs one reading a back-off step, and the call fails clearly', async (t) => {
  const clock = manualClock()
  const upstream = await startUpstream(t, guarded(() => false))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, '{ type: api_token, token: { env: TOKEN } }'), { env: { TOKEN: mint() }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  for (let nth = 0; nth < 5; nth++) t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key })), 'ERR_UPSTREAM_UNAUTHORIZED')
  t.equal(sidecar.events.filter((event) => isRefresh(event) && event.outcome === 'unchanged').length, 1)
  t.equal(upstream.seen.length, 5, 'and no replay with the same token')
})

t.test('an API token that is a JWT is read again before its exp', async (t) => {
  const clock = manualClock()
  const jwt = (seconds: number): string => `e30.${Buffer.from(JSON.stringify({ exp: clock.now() / 1000 + seconds, jti: mint() })).toString('base64url')}.c2ln`
  const env = { TOKEN: jwt(600) }
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, '{ type: api_token, token: { env: TOKEN } }'), { env, clock })
  await sidecar.until(refreshed)
  env.TOKEN = jwt(1200)
  await settled()
  await clock.advance(450_000)
  await sidecar.until(nthRefresh(sidecar.events, 2))
  await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  t.equal(bearerOf(upstream.seen[0]), env.TOKEN)
})

t.test('each refresh sends the refresh token that the one before gave', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint, 'scope: "a b"')), { env: { RT: issuer.seed }, clock })
  for (let nth = 1; nth <= 3; nth++) {
    await sidecar.until(nthRefresh(sidecar.events, nth))
    await settled()
    await clock.advance(3_300_000)
  }
  await sidecar.until(nthRefresh(sidecar.events, 4))
  t.equal(issuer.reused, false)
  t.equal(new Set(issuer.requests.map(({ form }) => form.get('refresh_token'))).size, 4)
  t.match(Object.fromEntries(issuer.requests[0]?.form ?? []), { grant_type: 'refresh_token', client_id: 'agents', scope: 'a b', resource: `${upstream.origin}/mcp` })
})

t.test('a token that was refreshed is used by the next call of every session of its principal, and by no other principal', async (t) => {
  const [alice, bob] = [await startOpaqueIssuer(t), await startOpaqueIssuer(t)]
  const upstream = await startUpstream(t, guarded((token) => alice.accepts(token) || bob.accepts(token)))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(alice.endpoint)) +
    `  bob: { credentials: { tools: ${byRefreshToken(bob.endpoint).replace('RT', 'RT2')} } }\n`, { env: { RT: alice.seed, RT2: bob.seed } })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const [planner, coder, other] = [await sidecar.keyFor('alice', 'planner'), await sidecar.keyFor('alice', 'coder'), await sidecar.keyFor('bob')]
  for (const key of [planner, coder, other]) await call(url, { key })
  const old = alice.issued.at(-1)
  alice.issued.push('the one before is over')
  t.equal((await call(url, { key: planner })).status, 200)
  t.equal((await call(url, { key: coder })).status, 200)
  t.equal((await call(url, { key: other })).status, 200)
  const good = alice.issued.at(-1)
  t.same(upstream.seen.slice(3).map(bearerOf), [old, good, good, bob.issued[0]])
  t.equal(alice.requests.length, 2)
  t.equal(bob.requests.length, 1)
})

t.test('an owner is told of each refresh, with fingerprints and without tokens', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  await sidecar.until(refreshed)
  await settled()
  await clock.advance(3_300_000)
  await sidecar.until(nthRefresh(sidecar.events, 2))
  const [first, second] = sidecar.events.filter(refreshed)
  t.match(second, { principal: 'alice', upstream: 'tools', type: 'refresh_token', trigger: 'ahead', outcome: 'ok', previous: first?.token, token: /^[0-9a-f]{8}$/, expires_in: 3600 })
  t.equal(first?.previous, undefined)
  for (const secret of [issuer.seed, issuer.refresh, ...issuer.issued]) t.notOk(JSON.stringify(sidecar.events).includes(secret))
})

t.test('where a refresh fails, an upstream that allows it gets the call without a credential', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: () => ({ status: 503 }) })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint), 'anonymous: [refresh_failed]'), { env: { RT: issuer.seed }, clock })
  const answer = call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  for (const [nth, wait] of [[1, 250], [2, 500], [3, 1000], [4, 2000]] as const) {
    await sidecar.until(failure(nth))
    await settled()
    await clock.advance(wait)
  }
  // The fifth failure would be waited for beyond the patience that is left.
  t.equal((await answer).status, 200)
  t.equal(upstream.seen[0]?.headers.authorization, undefined)
  t.equal(upstream.seen[0]?.headers['x-api-key'], undefined)
  t.ok(sidecar.events.some((event) => event.event === 'anonymous' && event.reason === 'refresh_failed'))
})

t.test('where a refresh fails, an upstream that does not allow it gets nothing', async (t) => {
  const issuer = await startOpaqueIssuer(t, { instead: () => ({ status: 503, headers: { 'retry-after': '120' } }) })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint), 'anonymous: [no_principal]'), { env: { RT: issuer.seed } })
  const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  t.equal(answer.status, 503)
  t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.match(answer.headers['retry-after'], /^1[234]\d$/)
  t.equal(upstream.seen.length, 0)
})

t.test('a grant that the issuer has ended fails calls with ERR_CREDENTIAL_REVOKED and is not asked for again', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: () => ({ status: 400, body: { error: 'invalid_grant' } }) })
  const upstream = await startUpstream(t)
  const env = { RT: issuer.seed }
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env, clock })
  const key = await sidecar.keyFor('alice')
  for (let nth = 0; nth < 3; nth++) t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key })), 'ERR_CREDENTIAL_REVOKED')
  for (let nth = 0; nth < 10; nth++) await clock.advance(60_000)
  t.equal(issuer.requests.length, 1)
  t.equal(sidecar.events.filter((event) => isRefresh(event) && event.outcome === 'revoked').length, 1, 'and it is told once')
  t.match(await sidecar.metrics(), 'mcp_valet_credentials{upstream="tools",state="revoked"} 1')
})

t.test('a new refresh token in the place that the config names ends a revocation without a restart', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: (_nth, { form }) => form.get('refresh_token') === issuer.seed ? undefined : { status: 400, body: { error: 'invalid_grant' } } })
  const upstream = await startUpstream(t, guarded((token) => issuer.accepts(token)))
  const env = { RT: mint('rt') }
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env, clock })
  const key = await sidecar.keyFor('alice')
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key })), 'ERR_CREDENTIAL_REVOKED')
  env.RT = issuer.seed
  await settled()
  await clock.advance(60_000)
  await sidecar.until(refreshed)
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
})

t.test('row 1: 1,000 concurrent callers with an expired token cause one refresh', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  clock.jump(2 * 3_600_000)
  const answers = await Promise.all(Array.from({ length: 1_000 }, async () => await call(`${sidecar.proxyUrl}/tools/mcp`, { key })))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(issuer.requests.length, 2)
  t.equal(upstream.seen.length, 1_000, 'and no call was sent with the old one')
})

t.test('row 4: tokens of two upstreams, two scopes or two principals never share a refresh', async (t) => {
  const opened = gate()
  const issuer = await startOpaqueIssuer(t, { rotate: false, instead: async () => { await opened.opened; return undefined } })
  const upstream = await startUpstream(t)
  const credential = (scope: string): string => byRefreshToken(issuer.endpoint, `scope: "${scope}"`)
  const sidecar = await startSidecar(t, `
upstreams:
  one: { url: "${upstream.origin}/one" }
  two: { url: "${upstream.origin}/two" }
principals:
  alice: { credentials: { one: ${credential('read')}, two: ${credential('write')} } }
  bob: { credentials: { one: ${credential('read')} } }
`, { env: { RT: issuer.seed } })
  const [alice, bob] = [await sidecar.keyFor('alice'), await sidecar.keyFor('bob')]
  const answers = Promise.all([[alice, 'one'], [alice, 'two'], [bob, 'one'], [alice, 'one']].map(async ([key, name]) => await call(`${sidecar.proxyUrl}/${name}/mcp`, { key: key as string })))
  await issuer.arrived(3)
  opened.open()
  await answers
  t.equal(issuer.requests.length, 3)
  t.same(issuer.requests.map(({ form }) => `${form.get('resource')?.slice(-3)} ${form.get('scope')}`).sort(), ['one read', 'one read', 'two write'])
  const tokens = new Map(upstream.seen.map((seen) => [bearerOf(seen), seen.url]))
  t.equal(tokens.size, 3, 'three tokens for four calls')
})

t.test('row 5: in the ahead-of-expiry window no caller waits', async (t) => {
  const clock = manualClock()
  const opened = gate()
  const issuer = await startOpaqueIssuer(t, { instead: async (nth) => { if (nth === 2) await opened.opened; return undefined } })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  await settled()
  await clock.advance(3_300_000)
  await issuer.arrived(2)
  const old = issuer.issued[0]
  // The refresh is under way and not answered, and the clock stands: whoever waited would wait for ever.
  for (let nth = 0; nth < 5; nth++) t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  t.ok(upstream.seen.every((seen) => bearerOf(seen) === old))
  opened.open()
  await sidecar.until(nthRefresh(sidecar.events, 2))
  await call(`${sidecar.proxyUrl}/tools/mcp`, { key })
  t.equal(bearerOf(upstream.seen.at(-1)), issuer.issued[1])
})

t.test('row 6: in the must-refresh window a caller waits a moment for an issuer that hangs, then goes with what is still good', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: (nth) => nth > 1 ? 'hang' : undefined })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  await sidecar.until(refreshed)
  clock.jump(3_545_000)
  t.teardown(issuer.stop)
  const answer = call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  await issuer.arrived(2)
  t.equal(upstream.seen.length, 0, 'it waits')
  await clock.advance(1_000)
  t.equal((await answer).status, 200)
  t.equal(bearerOf(upstream.seen[0]), issuer.issued[0])
  t.notOk(sidecar.events.some(failure(1)), 'while the refresh is still under way')
})

t.test('row 6: a caller whose token dies while it waits is not sent with it', async (t) => {
  const clock = manualClock()
  const opened = gate()
  const issuer = await startOpaqueIssuer(t, { expiresIn: 10, instead: async (nth) => { if (nth === 2) await opened.opened; return undefined } })
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  await sidecar.until(refreshed)
  clock.jump(9_100)
  const answer = call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  await issuer.arrived(2)
  await clock.advance(1_000)
  t.equal(upstream.seen.length, 0)
  opened.open()
  t.equal((await answer).status, 200)
  t.equal(bearerOf(upstream.seen[0]), issuer.issued[1])
})

t.test('row 6: with a dead token and an issuer that hangs, a call is answered when its deadline comes', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: () => 'hang' })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint), 'deadline: 7s'), { env: { RT: issuer.seed }, clock })
  t.teardown(issuer.stop)
  await issuer.arrived(1)
  await settled()
  const timers = clock.timers
  const answer = call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  await issuer.arrived(1)
  while (clock.timers === timers) await settled()
  await clock.advance(7_000)
  const { status, headers } = await answer
  t.equal(status, 503)
  t.equal(headers['retry-after'], '1')
  t.match(sidecar.events.find(({ event }) => event === 'failed'), { code: 'ERR_CREDENTIAL_UNAVAILABLE', reason: 'the renewal is still under way' })
  t.equal(upstream.seen.length, 0)
})

t.test('row 7: while the token is good, an issuer that is down harms no call, and one that is back is used', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  await issuer.stop()
  await settled()
  await clock.advance(3_300_000)
  t.match(await sidecar.until(failure(1)), { outcome: 'unavailable', reason: /cannot be reached \(ECONNREFUSED\)/ })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200, 'ahead of expiry')
  clock.jump(250_000)
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200, 'and when it must be refreshed')
  await issuer.start()
  await settled()
  await clock.advance(250)
  await sidecar.until(nthRefresh(sidecar.events, 2))
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), issuer.issued[1])
})

for (const [what, header, seconds] of [
  ['in seconds', () => '90', 90],
  ['as a date', (now: number) => new Date(now + 90_000).toUTCString(), 90],
  ['far in the future, capped at 5 min', () => '86400', 300],
  ['as a date in a year, capped', (now: number) => new Date(now + 365 * 86_400_000).toUTCString(), 300],
  ['in the past, as none', (now: number) => new Date(now - 90_000).toUTCString(), 0.25],
  ['that is no such thing, as none', () => 'soon', 0.25],
] as const) {
  t.test(`row 8: Retry-After ${what}`, async (t) => {
    const clock = manualClock()
    const issuer = await startOpaqueIssuer(t, { instead: (nth) => nth === 1 ? { status: 429, headers: { 'retry-after': header(clock.now()) } } : undefined })
    const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
    t.equal((await sidecar.until(failure(1))).retry_in, Math.ceil(seconds))
    await settled()
    await clock.advance(seconds * 1000 - 1)
    t.equal(issuer.requests.length, 1, 'not before')
    await clock.advance(1)
    await sidecar.until(refreshed)
  })
}

t.test('row 9: a failing refresh makes one attempt a back-off step, however many callers wait', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: () => ({ status: 500 }) })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  const warnings: Error[] = []
  const warned = (warning: Error): void => { warnings.push(warning) }
  process.on('warning', warned)
  t.teardown(() => process.off('warning', warned))
  await sidecar.until(failure(1))
  await settled()
  const timers = clock.timers
  const answers = Promise.all(Array.from({ length: 100 }, async () => await call(`${sidecar.proxyUrl}/tools/mcp`, { key })))
  while (clock.timers < timers + 100) await settled()
  for (const [nth, wait] of [[2, 250], [3, 500], [4, 1_000], [5, 2_000], [6, 4_000], [7, 8_000]] as const) {
    t.equal(issuer.requests.length, nth - 1)
    await clock.advance(wait)
    await sidecar.until(failure(nth))
    await settled()
  }
  // The next step, 16 s, ends behind the deadline of 30 s.
  for (const answer of await answers) {
    t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
    t.equal(answer.headers['retry-after'], '16')
  }
  t.equal(issuer.requests.length, 7)
  t.same(warnings.filter(({ name }) => name === 'MaxListenersExceededWarning'), [])
})

t.test('row 9: an outage of a day costs one attempt a minute, and its events count up', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: () => ({ status: 500 }) })
  const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  for (let nth = 1; nth <= 12; nth++) {
    await sidecar.until(failure(nth))
    await settled()
    t.equal(clock.timers, 1)
    await clock.advance(nth > 8 ? 60_000 : 250 * 2 ** (nth - 1))
  }
  await sidecar.until(failure(13))
  t.equal(issuer.requests.length, 13)
})

t.test('row 12: an answer without a refresh token keeps the old one', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { rotate: false })
  const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  for (let nth = 1; nth <= 3; nth++) {
    await sidecar.until(nthRefresh(sidecar.events, nth))
    await settled()
    await clock.advance(3_300_000)
  }
  await issuer.arrived(4)
  t.ok(issuer.requests.every(({ form }) => form.get('refresh_token') === issuer.seed))
})

for (const [what, reply, reason] of [
  ['invalid_client', { status: 401, body: { error: 'invalid_client' } }, /HTTP 401 with invalid_client: check client_id/],
  ['429', { status: 429 }, /HTTP 429 with no OAuth error/],
  ['503', { status: 503, body: '<html>sorry' }, /HTTP 503/],
  ['500 with an error code of its own', { status: 500, body: { error: mint('secret') } }, /HTTP 500 with an error code of its own$/],
  ['a connection that breaks', 'disconnect', /cannot be reached/],
] as const) {
  t.test(`row 15: ${what} keeps the refresh token, and it is used again`, async (t) => {
    const clock = manualClock()
    const issuer = await startOpaqueIssuer(t, { instead: (nth) => nth === 1 ? reply : undefined })
    const upstream = await startUpstream(t, guarded(issuer.accepts))
    const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
    t.match((await sidecar.until(failure(1))).reason, reason)
    await settled()
    await clock.advance(250)
    await sidecar.until(refreshed)
    t.same(issuer.requests.map(({ form }) => form.get('refresh_token')), [issuer.seed, issuer.seed])
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  })
}

t.test('row 16: an OAuth error with HTTP 200 is an error', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, {
    instead: (nth) => nth === 1 ? { body: { error: 'temporarily_unavailable', access_token: mint(), token_type: 'Bearer' } } : nth === 2 ? { body: { error: 'invalid_grant' } } : undefined,
  })
  const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  t.match(await sidecar.until(failure(1)), { outcome: 'unavailable', reason: 'the token endpoint answered HTTP 200 with temporarily_unavailable' })
  await settled()
  await clock.advance(250)
  t.match(await sidecar.until(failure(2)), { outcome: 'revoked' })
})

t.test('row 17: a clock set forward by an hour costs one refresh, not one a call', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { expiresIn: 1800 })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  clock.jump(3_600_000)
  for (let round = 0; round < 2; round++) {
    await Promise.all(Array.from({ length: 20 }, async () => await call(`${sidecar.proxyUrl}/tools/mcp`, { key })))
  }
  t.equal(issuer.requests.length, 2)
  t.equal(clock.timers, 1)
})

t.test('row 17: a clock set back by an hour delays no refresh', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { expiresIn: 1800 })
  const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  await sidecar.until(refreshed)
  await settled()
  clock.jump(-3_600_000)
  await clock.advance(1_500_000)
  await sidecar.until(nthRefresh(sidecar.events, 2))
})

t.test('row 17: after a clock was set back, a token that died meanwhile is replaced at the first 401', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { expiresIn: 1800 })
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  clock.jump(-3_600_000)
  issuer.issued.push('the one before has expired')
  for (let nth = 0; nth < 3; nth++) t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  t.equal(issuer.requests.length, 2)
})

t.test('row 17: a clock set back by an hour does not stretch the wait after a failure', async (t) => {
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t, { instead: (nth) => nth === 1 ? { status: 503 } : undefined })
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  await sidecar.until(failure(1))
  await settled()
  clock.jump(-3_600_000)
  await clock.advance(250)
  await sidecar.until(refreshed)
})

t.test('row 17: tokens of an issuer whose clock is an hour off are used for as long as they live', async (t) => {
  const clock = manualClock()
  for (const off of [3_600_000, -3_600_000]) {
    const upstream = await startUpstream(t)
    const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 600, now: () => clock.now() + off })
    t.teardown(issuer.close)
    const { refresh_token: RT } = await issuer.login('alice')
    const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: refresh_token, issuer: "${issuer.url}", client_id: demo, refresh_token: { env: RT } }`), { env: { RT }, clock })
    t.equal((await sidecar.until(refreshed)).expires_in, 600)
    const key = await sidecar.keyFor('alice')
    for (let nth = 0; nth < 3; nth++) await call(`${sidecar.proxyUrl}/tools/mcp`, { key })
    t.equal(issuer.requests.refresh_token.ok, 1)
  }
})

for (const [what, expiresIn] of [['30 days', 30 * 86_400], ['a century', 100 * 365 * 86_400], ['more seconds than a number holds', 1e300]] as const) {
  t.test(`row 18: a token of ${what} overflows no timer`, async (t) => {
    const issuer = await startOpaqueIssuer(t, { expiresIn })
    const upstream = await startUpstream(t)
    const warnings: string[] = []
    const warned = ({ name }: Error): void => { warnings.push(name) }
    process.on('warning', warned)
    t.teardown(() => process.off('warning', warned))
    const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed } })
    await sidecar.until(refreshed)
    // An overflown timer fires after 1 ms, so a second refresh would be there before these are answered.
    for (let nth = 0; nth < 5; nth++) await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
    t.equal(issuer.requests.length, 1)
    t.notOk(warnings.includes('TimeoutOverflowWarning'))
  })
}

for (const answer of [{ expires_in: undefined }, { expires_in: null }, { expires_in: 0 }, { expires_in: '' }]) {
  t.test(`row 19: without a lifetime (${JSON.stringify(answer)}) only a 401 refreshes`, async (t) => {
    const clock = manualClock()
    const issuer = await startOpaqueIssuer(t, { answer })
    const upstream = await startUpstream(t, guarded(issuer.accepts))
    const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
    const key = await sidecar.keyFor('alice')
    await sidecar.until(refreshed)
    await settled()
    t.equal(clock.timers, 0)
    await clock.advance(10 * 365 * 86_400_000)
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
    t.equal(issuer.requests.length, 1)
    issuer.issued.push('the one before is over')
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
    t.equal(issuer.requests.length, 2)
  })
}

for (const [lifetime, most] of [[5, 17], [1, 61], [0.01, 61]] as const) {
  t.test(`row 20: tokens of ${lifetime} s make no hot loop`, async (t) => {
    const clock = manualClock()
    const issuer = await startOpaqueIssuer(t, { expiresIn: lifetime })
    const sidecar = await startSidecar(t, oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
    await sidecar.until(refreshed)
    for (let passed = 0; passed < 60_000; passed += 250) {
      await settled()
      const landed = sidecar.events.filter(isRefresh).length
      const asked = issuer.requests.length
      await clock.advance(250)
      if (issuer.requests.length > asked || clock.timers === 0) await sidecar.until(() => sidecar.events.filter(isRefresh).length > landed)
    }
    t.ok(issuer.requests.length <= most, `${issuer.requests.length} requests in a minute`)
    t.ok(issuer.requests.length > 1)
  })
}

t.test('row 21: the caller that started a refresh leaves, and the others get it', async (t) => {
  const clock = manualClock()
  const opened = gate()
  const issuer = await startOpaqueIssuer(t, { instead: async (nth) => { if (nth === 2) await opened.opened; return undefined } })
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  const key = await sidecar.keyFor('alice')
  await sidecar.until(refreshed)
  clock.jump(2 * 3_600_000)
  const leaver = httpRequest(`${sidecar.proxyUrl}/tools/mcp`, { method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json' } })
  leaver.on('error', () => {})
  leaver.end(rpc('tools/list'))
  await issuer.arrived(2)
  const others = Promise.all([1, 2, 3].map(async () => await call(`${sidecar.proxyUrl}/tools/mcp`, { key })))
  leaver.destroy()
  await sidecar.until((event) => event.event === 'call' && event.outcome === 'aborted')
  opened.open()
  for (const { status } of await others) t.equal(status, 200)
  t.equal(issuer.requests.length, 2)
  t.equal(upstream.seen.length, 3, 'and nothing is sent for the one that left')
})
