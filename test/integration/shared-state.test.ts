import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Directory } from '../../src/caller/directory.js'
import { Pepper } from '../../src/caller/pepper.js'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { SessionBook } from '../../src/caller/sessions.js'
import { systemClock } from '../../src/clock.js'
import { loadConfigText } from '../../src/config/load.js'
import { Grants } from '../../src/credential/grants/index.js'
import { Principals } from '../../src/credential/principals.js'
import { createIssuer, type Issuer, type IssuerOptions } from '../../src/demo/issuer.js'
import { follow } from '../../src/follow.js'
import { openState } from '../../src/state/open.js'
import { StateKey } from '../../src/state/seal.js'
import { call, errorCode } from '../helpers/call.js'
import { startHop } from '../helpers/cut.js'
import { door, eventually, open, piece } from '../helpers/peers.js'
import { skip, startRedis, type RedisServer } from '../helpers/redis.js'
import { serveProcess } from '../helpers/serving.js'
import { startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { guarded, startUpstream, type Answer, type TestUpstream } from '../helpers/upstream.js'

interface Scene { readonly redis: RedisServer, readonly upstream: TestUpstream, readonly issuer: Issuer, readonly refused: Set<string>, readonly env: Record<string, string>, readonly yaml: string, start (url?: string): Promise<TestSidecar> }

const url = ({ proxyUrl }: { proxyUrl: string }): string => `${proxyUrl}/tools/mcp`

async function scene (t: Test, options: Partial<IssuerOptions> = {}, answer?: Answer): Promise<Scene> {
  const redis = await startRedis(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token), answer))
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 3600, ...options })
  t.teardown(issuer.close)
  const env = { REDIS_URL: redis.url, STATE_KEY: randomBytes(32).toString('base64'), RT: (await issuer.login('alice')).refresh_token, KEY: mintSessionKey().reveal() }
  const yaml = `
state: { driver: redis, url: { env: REDIS_URL }, key: { env: STATE_KEY } }
upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo } } }
principals: { alice: { credentials: { tools: { refresh_token: { env: RT } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }]
`
  return { redis, upstream, issuer, refused, env, yaml, start: async (at = redis.url) => await startSidecar(t, yaml, { env: { ...env, REDIS_URL: at } }) }
}

t.test('row 2: a thousand callers without a good token, over four processes that share Redis, make one refresh', { skip }, async (t) => {
  const { issuer, env, yaml } = await scene(t, { onTokenRequest: async () => { await new Promise((resolve) => setTimeout(resolve, 1_500)); return undefined } })
  const config = join(t.testdir({}), 'valet.yaml')
  writeFileSync(config, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n${yaml}`)
  const sidecars = await Promise.all([1, 2, 3, 4].map(async () => await serveProcess(t, config, env)))
  const answers = await Promise.all(Array.from({ length: 1_000 }, async (_, nth) => await call(`${sidecars[nth % 4]?.proxy}/tools/mcp`, { key: env.KEY as string })))
  t.same(new Set(answers.map(({ status }) => status)), new Set([200]))
  t.equal(issuer.requests.refresh_token.ok, 1)
  t.equal(issuer.families.revoked, 0)
})

t.test('row 25: late refusals of an old token, over several sidecars, make one refresh', { skip }, async (t) => {
  const { issuer, refused, upstream, env, start } = await scene(t)
  const sidecars = [await start(), await start(), await start()]
  for (const sidecar of sidecars) t.equal((await call(url(sidecar), { key: env.KEY as string })).status, 200)
  t.equal(issuer.requests.refresh_token.ok, 1, 'they share what the first one got')
  refused.add(String(upstream.seen.at(-1)?.headers['x-api-key']))
  const answers = await Promise.all(Array.from({ length: 60 }, async (_, nth) => await call(url(sidecars[nth % 3] as TestSidecar), { key: env.KEY as string })))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(issuer.requests.refresh_token.ok, 2)
})

t.test('P2: what one sidecar has renewed the others take over, before they need it', { skip }, async (t) => {
  const { issuer, env, upstream, start } = await scene(t)
  const [one, two] = [await start(), await start()]
  for (const sidecar of [one, two]) await call(url(sidecar), { key: env.KEY as string })
  await one.credentials.refresh('alice', 'tools')
  const renewed = one.credentials.list()[0]?.token
  await eventually(() => two.credentials.list()[0]?.token === renewed, 'the token of the other sidecar')
  await call(url(two), { key: env.KEY as string })
  t.ok(upstream.seen.length > 2)
  t.equal(issuer.requests.refresh_token.ok, 2)
})

t.test('P3: a session and a principal that are made in one sidecar are good in another at once, and over in both when they end', { skip }, async (t) => {
  const { issuer, start } = await scene(t, {}, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') })
  const [one, two] = [await start(), await start()]
  await one.principals.put('bob', { credentials: { tools: await issuer.login('bob') } })
  const { id, key } = await one.sessions.create({ principal: 'bob', agent: 'x' })
  const { request, head } = open(url(two), { method: 'GET', key: key.reveal() })
  const ended = once(request, 'close')
  t.equal(await piece(await head), 'data: 1\n\n')
  t.ok(await one.sessions.revoke(id))
  await ended
  t.equal(errorCode(await call(url(two), { key: key.reveal() })), 'ERR_SESSION_UNKNOWN')
  const again = await two.sessions.create({ principal: 'bob', agent: 'y' })
  t.ok(await one.principals.delete('bob'))
  await eventually(() => !two.principals.list().some(({ id }) => id === 'bob'), 'the end of the principal')
  t.equal(errorCode(await call(url(two), { key: again.key.reveal() })), 'ERR_SESSION_UNKNOWN')
})

t.test('P3: no token of a principal that is deleted in one sidecar is left, though another one was renewing it', { skip }, async (t) => {
  const answered = door()
  let [holding, asked] = [false, false]
  const { redis, issuer, start } = await scene(t, {
    onTokenRequest: async () => {
      if (!holding) return undefined
      asked = true
      await answered.opened
      return undefined
    },
  })
  const [one, two] = [await start(), await start()]
  await one.principals.put('bob', { credentials: { tools: await issuer.login('bob') } })
  await eventually(() => two.credentials.list().some(({ principal, state }) => principal === 'bob' && state === 'valid'), 'the principal in the other sidecar')
  holding = true
  const refreshing = two.credentials.refresh('bob', 'tools').catch(() => {})
  await eventually(() => asked, 'the renewal')
  t.ok(await one.principals.delete('bob'))
  answered.open()
  await refreshing
  await Promise.all([one.close(), two.close()])
  t.equal(await redis.cli('keys', '*bob*'), '')
})

t.test('P3: a session that is revoked while the news of it is under way is over, here and elsewhere', { skip }, async (t) => {
  const { start } = await scene(t)
  const [one, two] = [await start(), await start()]
  const statusOf = async (sidecar: TestSidecar, key: string): Promise<number> => (await call(url(sidecar), { key })).status
  for (let n = 0; n < 20; n++) {
    const { id, key } = await two.sessions.create({ principal: 'alice', agent: 'x' })
    const first = n % 2 === 0 ? call(url(one), { key: key.reveal() }) : undefined
    t.ok(await (n % 3 === 0 ? two : one).sessions.revoke(id))
    await first
    await new Promise((resolve) => setTimeout(resolve, 20))
    t.same(await Promise.all([one, two].map(async (sidecar) => await statusOf(sidecar, key.reveal()))), [401, 401], `session ${n}`)
  }
})

t.test('P3: a session that is revoked while another sidecar reads the state is over there, too', { skip }, async (t) => {
  const { env, yaml, start } = await scene(t)
  const one = await start()
  const { id } = await one.sessions.create({ principal: 'alice', agent: 'x' })
  const config = loadConfigText(yaml, { env })
  const { vault, key } = await openState(config.state)
  t.teardown(async () => await vault.close())
  const [emit, clock] = [() => {}, systemClock]
  const principals = new Principals({ configured: config.principals.values(), complete: config.complete, grants: new Grants(clock), vault, clock, emit })
  const pepper = await Pepper.open(vault, key)
  const sessions = new SessionBook({ directory: new Directory(pepper.key, clock), vault, principals, clock, emit })
  const heard: Array<string | undefined> = []
  vault.watch((name) => heard.push(name))
  const following = follow(vault, clock)
  await sessions.load()
  t.equal(sessions.list().length, 1)
  t.ok(await one.sessions.revoke(id))
  await eventually(() => heard.length > 0, 'the news')
  following.begin({ sessions, principals, pepper, emit, taken: () => {} })
  await eventually(() => sessions.list().length === 0, 'the end of the session')
  following.stop()
})

t.test('row 22: the news of a session that cannot be read at once is not forgotten', { skip }, async (t) => {
  const { redis, start } = await scene(t)
  const [near, far] = [await start(), await start()]
  const { id, key } = await near.sessions.create({ principal: 'alice', agent: 'x' })
  await eventually(() => far.sessions.list().some((session) => session.id === id), 'the session')
  await redis.cli('acl', 'setuser', 'default', '-get')
  await near.sessions.revoke(id)
  await far.until((event) => event.event === 'warning')
  t.equal((await call(url(far), { key: key.reveal() })).status, 200, 'it has not heard of it')
  await redis.cli('acl', 'setuser', 'default', '+get')
  await eventually(() => !far.sessions.list().some((session) => session.id === id), 'the end of the session')
  t.equal((await call(url(far), { key: key.reveal() })).status, 401)
})

t.test('P3: a session whose revocation Redis refuses is over all the same, and is deleted once Redis takes it', { skip }, async (t) => {
  const { redis, upstream, start } = await scene(t)
  const one = await start()
  const { id, key } = await one.sessions.create({ principal: 'alice', agent: 'x' })
  await redis.cli('config', 'set', 'min-replicas-to-write', '1')
  await t.rejects(one.sessions.revoke(id), { code: 'ERR_STATE_UNAVAILABLE', message: /the session has ended here, but that could not be saved/ })
  for (let n = 0; n < 2; n++) t.equal(errorCode(await call(url(one), { key: key.reveal() })), 'ERR_SESSION_UNKNOWN')
  t.same([one.sessions.list().length, upstream.seen.length], [1, 0], 'that of the config is left')
  await redis.cli('config', 'set', 'min-replicas-to-write', '0')
  t.equal(errorCode(await call(url(one), { key: key.reveal() })), 'ERR_SESSION_UNKNOWN')
  for (let tries = 0; tries < 100 && await redis.cli('keys', `*${id}*`) !== ''; tries++) await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(await redis.cli('keys', `*${id}*`), '', 'its record is gone')
})

t.test('P3: what was revoked and could not be saved is saved once Redis takes it, without anybody asking, and is over for all', { skip }, async (t) => {
  const { redis, env, start } = await scene(t)
  const one = await start()
  const { id, key } = await one.sessions.create({ principal: 'alice', agent: 'x' })
  const other = await start()
  const configured = String(one.sessions.list().find(({ source }) => source === 'config')?.id)
  await redis.cli('config', 'set', 'min-replicas-to-write', '1')
  for (let n = 0; n < 2; n++) {
    for (const each of [id, configured]) await t.rejects(one.sessions.revoke(each), { code: 'ERR_STATE_UNAVAILABLE', message: /that could not be saved/ }, 'so it is the second time')
  }
  await redis.cli('config', 'set', 'min-replicas-to-write', '0')
  await eventually(() => other.sessions.list().length === 0, 'the end of both in the other sidecar')
  t.notOk(await one.sessions.revoke(configured), 'it is over')
  await one.close()
  const again = await start()
  for (const shown of [key.reveal(), env.KEY as string]) t.equal(errorCode(await call(url(again), { key: shown })), 'ERR_SESSION_UNKNOWN')
})

/** Redis comes back without anything, as on a volume that is not its own; what it had is put back by `restore`. */
async function emptied (redis: RedisServer): Promise<{ restore: () => Promise<void> }> {
  const [data, aside] = [join(redis.folder, 'appendonlydir'), join(redis.folder, 'aside')]
  await redis.stop()
  renameSync(data, aside)
  await redis.start()
  return {
    async restore () {
      await redis.stop()
      rmSync(data, { recursive: true })
      renameSync(aside, data)
      await redis.start()
    },
  }
}

t.test('P3: sessions and principals that Redis has lost are gone, and as good as before once it has them again', { skip }, async (t) => {
  const { redis, issuer, start } = await scene(t)
  const one = await start()
  await one.until((event) => event.event === 'refresh')
  await one.principals.put('bob', { credentials: { tools: await issuer.login('bob') } })
  const keys: string[] = []
  for (const principal of ['alice', 'bob']) keys.push((await one.sessions.create({ principal, agent: 'x' })).key.reveal())
  const revoked = await one.sessions.create({ principal: 'alice', agent: 'y' })
  await one.sessions.revoke(revoked.id)
  const { restore } = await emptied(redis)
  await eventually(() => one.sessions.list().length === 1, 'the loss')
  for (const key of keys) t.equal(errorCode(await call(url(one), { key })), 'ERR_SESSION_UNKNOWN')
  await restore()
  await eventually(() => one.sessions.list().length === 3, 'what was lost')
  for (const key of keys) t.equal((await call(url(one), { key })).status, 200)
  t.equal(errorCode(await call(url(one), { key: revoked.key.reveal() })), 'ERR_SESSION_UNKNOWN')
})

t.test('P3: that a session of the config was revoked is not forgotten with what Redis has lost', { skip }, async (t) => {
  const { redis, env, start } = await scene(t)
  const one = await start()
  t.ok(await one.sessions.revoke(String(one.sessions.list()[0]?.id)))
  await emptied(redis)
  for (let tries = 0; tries < 500 && await redis.cli('keys', '*session/*') === ''; tries++) await new Promise((resolve) => setTimeout(resolve, 20))
  t.not(await redis.cli('keys', '*session/*'), '', 'the record of it is put back')
  const again = await start()
  t.equal(errorCode(await call(url(again), { key: env.KEY as string })), 'ERR_SESSION_UNKNOWN')
})

t.test('P3: sidecars that start on a Redis that was emptied know the keys of the others, and those know theirs', { skip }, async (t) => {
  const { redis, env, yaml } = await scene(t)
  // No refresh token, which would be lost with what Redis has lost.
  const lasting = yaml.replace(/, credential: \{.*?\} /, ' ').replace('{ refresh_token: { env: RT } }', '{ type: api_token, token: { env: RT } }')
  const one = await startSidecar(t, lasting, { env })
  await redis.cli('flushall')
  const other = await startSidecar(t, lasting, { env })
  for (const [here, there] of [[one, other], [other, one]] as const) {
    const { key } = await here.sessions.create({ principal: 'alice', agent: 'x' })
    t.equal((await call(url(there), { key: key.reveal() })).status, 200)
  }
})

t.test('P3: a state that hashes session keys in another way since it was emptied is warned of', { skip }, async (t) => {
  const { redis, env, yaml, start } = await scene(t)
  const one = await start()
  await redis.cli('flushall')
  const { vault } = await openState(loadConfigText(yaml, { env }).state)
  t.teardown(async () => await vault.close())
  await Pepper.open(vault, StateKey.random())
  t.match(await one.until((event) => event.event === 'warning'), { reason: /restart this sidecar/ })
})

/** A pair for which Redis has no room, as it is full between the request and the answer; leases can be given back then. */
async function unsavedPair (t: Test) {
  let full = false
  const there = await scene(t, {
    onTokenRequest: async () => {
      if (full) await there.redis.cli('config', 'set', 'maxmemory', '1')
      return undefined
    },
  })
  const sidecar = await there.start()
  await sidecar.until((event) => event.event === 'refresh')
  const fill = async (): Promise<void> => {
    full = true
    await sidecar.credentials.refresh('alice', 'tools')
    full = false
    await sidecar.until((event) => event.event === 'state_failed')
  }
  const load = (yaml: string) => loadConfigText(`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n${yaml}`, { env: there.env })
  return {
    ...there,
    sidecar,
    fill,
    mend: async () => await there.redis.cli('config', 'set', 'maxmemory', '0'),
    leave: async () => await sidecar.reload(async () => load(there.yaml.replace(/^principals.*$/m, 'principals: { alice: { credentials: {} } }'))),
    comeBack: async () => await sidecar.reload(async () => load(there.yaml)),
  }
}

t.test('row 11: a pair that could not be saved counts for its credential that leaves the config and comes back', { skip }, async (t) => {
  const { sidecar, fill, mend, leave, comeBack, issuer } = await unsavedPair(t)
  await fill()
  await leave()
  await comeBack()
  await mend()
  await sidecar.credentials.refresh('alice', 'tools')
  t.same([sidecar.credentials.list()[0]?.state, issuer.families.revoked], ['valid', 0])
})

t.test('row 11: a pair that could not be saved is saved once Redis takes it, though its credential has left the config', { skip }, async (t) => {
  const { env, yaml, sidecar, fill, mend, leave, start, issuer } = await unsavedPair(t)
  const { vault } = await openState(loadConfigText(yaml, { env }).state)
  t.teardown(async () => await vault.close())
  await fill()
  await leave()
  t.same(sidecar.credentials.list(), [])
  const heard: Array<string | undefined> = []
  vault.watch((name) => heard.push(name))
  await mend()
  await eventually(() => heard.includes('credential/alice/tools'), 'the pair')
  const other = await start()
  await other.credentials.refresh('alice', 'tools')
  t.same([other.credentials.list()[0]?.state, issuer.families.revoked], ['valid', 0])
})

t.test('row 11: of a credential that was taken back nothing is left, though its pair could not be saved before', { skip }, async (t) => {
  const { redis, sidecar, fill, mend, issuer } = await unsavedPair(t)
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await fill()
  await mend()
  t.ok(await sidecar.principals.delete('alice'))
  await sidecar.close()
  t.equal(await redis.cli('keys', '*put-credential*'), '')
})

t.test('row 22: a principal that was put while Redis was away has its token ready when it is back, before anybody calls', { skip }, async (t) => {
  const { redis, issuer, start } = await scene(t)
  const hop = await startHop(t, { path: redis.socket })
  const [near, far] = [await start(), await start(`redis://127.0.0.1:${hop.port}`)]
  hop.cut()
  await near.principals.put('bob', { credentials: { tools: await issuer.login('bob') } })
  hop.mend()
  await eventually(() => far.credentials.list().some(({ principal, state }) => principal === 'bob' && state === 'valid'), 'the token of the principal that was put meanwhile')
})

t.test('row 22: without Redis good tokens and known keys stay good, no refresh token is spent, and it comes back by itself', { skip }, async (t) => {
  const { redis, issuer, refused, upstream, env, start } = await scene(t)
  const hop = await startHop(t, { path: redis.socket })
  const [near, far] = [await start(), await start(`redis://127.0.0.1:${hop.port}`)]
  t.equal((await call(url(far), { key: env.KEY as string })).status, 200)
  const { key } = await near.sessions.create({ principal: 'alice', agent: 'late' })
  const spent = issuer.requests.refresh_token.ok
  hop.cut()
  t.equal((await call(url(far), { key: env.KEY as string })).status, 200)
  const unknown = await call(url(far), { key: mintSessionKey().reveal() })
  t.same([unknown.status, errorCode(unknown), unknown.headers['retry-after']], [503, 'ERR_STATE_UNAVAILABLE', '1'])
  await t.rejects(far.sessions.create({ principal: 'alice', agent: 'x' }), { code: 'ERR_STATE_UNAVAILABLE', status: 503 })
  await t.rejects(far.credentials.refresh('alice', 'tools'), { code: 'ERR_REFRESH_FAILED' })
  t.equal(issuer.requests.refresh_token.ok, spent)
  hop.mend()
  refused.add(String(upstream.seen.at(-1)?.headers['x-api-key']))
  await eventually(() => far.sessions.list().length === 2, 'the session that was made meanwhile')
  t.equal((await call(url(far), { key: env.KEY as string })).status, 200)
  t.equal((await call(url(far), { key: key.reveal() })).status, 200)
  t.equal(issuer.families.revoked, 0)
})

t.test('T1: a stream that listens ends once another sidecar has been told other rules on tools', { skip }, async (t) => {
  const { env, start } = await scene(t, {}, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n') })
  const [one, other] = [await start(), await start()]
  const response = await fetch(url(one), { headers: { 'X-Session-Key': env.KEY as string, accept: 'text/event-stream' } })
  let ended = false
  void (async () => {
    for await (const piece of response.body as ReadableStream<Uint8Array>) t.match(Buffer.from(piece).toString(), ': hello')
    ended = true
  })().catch(() => {})
  await other.principals.put('alice', { credentials: {}, tools: { allow: ['*'], deny: ['admin_*'] } })
  await eventually(() => ended, 'the end of the stream')
})
