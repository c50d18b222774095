import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { call, errorCode } from '../helpers/call.js'
import { testClock } from '../helpers/clock.js'
import { door, eventually, freshToken, open, piece } from '../helpers/peers.js'
import { startSidecar, type StartOptions, type TestSidecar } from '../helpers/sidecar.js'
import { startUpstream, type Answer } from '../helpers/upstream.js'

const HOUR = 3_600_000
const url = ({ proxyUrl }: TestSidecar): string => `${proxyUrl}/tools/mcp`
const streaming: Answer = (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') }

async function yamlFor (t: Test, answer?: Answer, more = ''): Promise<{ yaml: string, options: StartOptions, upstream: Awaited<ReturnType<typeof startUpstream>> }> {
  const upstream = await startUpstream(t, answer)
  const yaml = `
state: { driver: lmdb, path: "${join(t.testdir({}), 'state')}" }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
${more}`
  return { yaml, upstream, options: { env: { TOKEN: freshToken() } } }
}

t.test('P3: a session that was made at run time is there after a restart, and one that was revoked is not', async (t) => {
  const { yaml, options } = await yamlFor(t)
  const before = await startSidecar(t, yaml, options)
  const kept = await before.sessions.create({ principal: 'alice', agent: 'kept', tools: { allow: ['a'], deny: ['b'] }, ttlMs: HOUR })
  const gone = await before.sessions.create({ principal: 'alice', agent: 'gone' })
  t.ok(await before.sessions.revoke(gone.id))
  await before.close()
  const after = await startSidecar(t, yaml, options)
  t.equal((await call(url(after), { key: kept.key.reveal() })).status, 200)
  t.equal(errorCode(await call(url(after), { key: gone.key.reveal() })), 'ERR_SESSION_UNKNOWN')
  const { key: _, ...info } = kept
  t.same(after.sessions.list(), [info])
  t.equal(kept.source, 'api')
})

t.test('P3: a session of the config that was revoked stays so after a restart, until it has a new key', async (t) => {
  const { yaml, options } = await yamlFor(t, undefined, 'sessions: [{ principal: alice, agent: planner, key: { env: KEY } }]')
  const [old, fresh] = [mintSessionKey().reveal(), mintSessionKey().reveal()]
  const before = await startSidecar(t, yaml, { env: { ...options.env, KEY: old } })
  const [session] = before.sessions.list()
  t.equal((await call(url(before), { key: old })).status, 200)
  t.ok(await before.sessions.revoke(session?.id as string))
  t.equal(errorCode(await call(url(before), { key: old })), 'ERR_SESSION_UNKNOWN')
  await before.close()
  const after = await startSidecar(t, yaml, { env: { ...options.env, KEY: old } })
  t.equal(errorCode(await call(url(after), { key: old })), 'ERR_SESSION_UNKNOWN')
  t.match(after.events.find(({ event }) => event === 'warning'), { reason: /agent "planner" was revoked and stays so: give the agent a new one/ })
  await after.close()
  const renewed = await startSidecar(t, yaml, { env: { ...options.env, KEY: fresh } })
  t.equal((await call(url(renewed), { key: fresh })).status, 200)
})

t.test('P1: an expired session is told apart from an unknown one after a restart too', async (t) => {
  const { yaml, options } = await yamlFor(t)
  const clock = testClock()
  const before = await startSidecar(t, yaml, { ...options, clock })
  const { key } = await before.sessions.create({ principal: 'alice', agent: 'brief', ttlMs: HOUR })
  await before.close()
  clock.jump(2 * HOUR)
  const after = await startSidecar(t, yaml, { ...options, clock })
  t.equal(errorCode(await call(url(after), { key: key.reveal() })), 'ERR_SESSION_EXPIRED')
})

t.test('P3: a stream ends when its session expires', async (t) => {
  const { yaml, options, upstream } = await yamlFor(t, streaming)
  const sidecar = await startSidecar(t, yaml, options)
  const { key } = await sidecar.sessions.create({ principal: 'alice', agent: 'listener', ttlMs: 300 })
  const { request, head } = open(url(sidecar), { method: 'GET', key: key.reveal() })
  const ended = once(request, 'close')
  t.equal(await piece(await head), 'data: 1\n\n')
  await ended
  await eventually(() => upstream.server.listening && sidecar.events.some(({ event }) => event === 'stream_closed'), 'the end of the stream')
  t.equal(errorCode(await call(url(sidecar), { key: key.reveal() })), 'ERR_SESSION_EXPIRED')
})

t.test('P3: a call that waits for its upstream when its session is revoked is answered, and taken back there', async (t) => {
  const arrived = door()
  const left = door()
  const { yaml, options } = await yamlFor(t, (_seen, response) => { arrived.open(); response.on('close', left.open) })
  const sidecar = await startSidecar(t, yaml, options)
  const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: 'slow' })
  const other = await sidecar.sessions.create({ principal: 'alice', agent: 'other' })
  const answer = call(url(sidecar), { key: key.reveal() })
  await arrived.opened
  await sidecar.sessions.revoke(other.id)
  await sidecar.sessions.revoke(id)
  t.equal(errorCode(await answer), 'ERR_SESSION_UNKNOWN')
  await left.opened
  t.match(sidecar.events.filter(({ event }) => event === 'call'), [{ status: 401, outcome: 'error', code: 'ERR_SESSION_UNKNOWN' }])
})

t.test('P3: what a session may not be is told all at once', async (t) => {
  const { yaml, options } = await yamlFor(t)
  const { sessions } = await startSidecar(t, yaml, options)
  await t.rejects(sessions.create({ principal: 'alice', agent: '', ttlMs: -1, tools: { allow: [''], deny: ['x'.repeat(257)] } }), {
    name: 'ControlError', code: 'ERR_REQUEST_INVALID', status: 400, details: [{ path: 'agent' }, { path: 'ttl' }, { path: 'tools.allow' }, { path: 'tools.deny' }],
  })
  await t.rejects(sessions.create({ principal: 'nobody', agent: 'x' }), { code: 'ERR_PRINCIPAL_UNKNOWN', status: 404 })
  t.notOk(await sessions.revoke('ses_AAAAAAAAAAAAAAAA'))
  t.notOk(await sessions.revoke('../principal/alice'))
  t.same(sessions.list(), [])
})

t.test('row 11: a session that the store refuses is not made, and one that is revoked ends although that cannot be saved', async (t) => {
  const { yaml, options } = await yamlFor(t)
  const sidecar = await startSidecar(t, yaml, options)
  const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: 'one' })
  await sidecar.close()
  await t.rejects(sidecar.sessions.create({ principal: 'alice', agent: 'two' }), { code: 'ERR_STATE_UNAVAILABLE', status: 503, details: [{ path: '' }] })
  t.equal(sidecar.sessions.list().length, 1)
  await t.rejects(sidecar.sessions.revoke(id), { code: 'ERR_STATE_UNAVAILABLE', message: /the session has ended here, but that could not be saved/ })
  t.same(sidecar.sessions.list(), [])
  t.match(key.reveal(), /^vk_/)
})
