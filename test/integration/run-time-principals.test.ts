import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { GivenCredential } from '../../src/control.js'
import { loadConfigText } from '../../src/config/load.js'
import { recordName } from '../../src/credential/record.js'
import { createIssuer, type Issuer } from '../../src/demo/issuer.js'
import { lmdbStore } from '../../src/state/lmdb.js'
import { call, errorCode } from '../helpers/call.js'
import { manualClock } from '../helpers/manual-clock.js'
import { door, eventually, freshToken } from '../helpers/peers.js'
import { startSidecar, type StartOptions, type TestSidecar } from '../helpers/sidecar.js'
import { mint, startOpaqueIssuer, startTokenServer, type OpaqueIssuer } from '../helpers/tokens.js'
import { answerJson, guarded, startUpstream, type Answer, type TestUpstream } from '../helpers/upstream.js'

interface Scene { readonly upstream: TestUpstream, readonly issuer: Issuer, readonly good: Set<string>, start (options?: StartOptions): Promise<TestSidecar> }

const bearer = (upstream: TestUpstream): string | undefined => upstream.seen.at(-1)?.headers.authorization?.slice('Bearer '.length)
const callOf = async (sidecar: TestSidecar, key: string) => await call(`${sidecar.proxyUrl}/tools/mcp`, { key })

/** An upstream that takes what is in `good` and everything of a real issuer, whose client every principal here shares. */
async function scene (t: Test, principals = '', env: Record<string, string> = {}, answer: Answer = answerJson): Promise<Scene> {
  const good = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => good.has(token) || token.startsWith('ey'), answer))
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 3600 })
  t.teardown(issuer.close)
  const yaml = `
state: { driver: lmdb, path: "${join(t.testdir({}), 'state')}" }
upstreams:
  tools:
    url: "${upstream.origin}/mcp"
    credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo }
  other: { url: "${upstream.origin}/other" }
${principals}`
  return { upstream, issuer, good, start: async (options = {}) => await startSidecar(t, yaml, { env, ...options }) }
}

t.test('P3: from a product\'s login to a working agent, and on after a restart', async (t) => {
  const { upstream, issuer, start } = await scene(t)
  const sidecar = await start()
  const login = await issuer.login('alice')
  t.same(await sidecar.principals.put('alice', { credentials: { tools: login } }), { id: 'alice', tools: undefined, source: 'api', upstreams: ['tools'] })
  const { key } = await sidecar.sessions.create({ principal: 'alice', agent: 'planner' })
  t.equal((await callOf(sidecar, key.reveal())).status, 200)
  t.equal(bearer(upstream), login.access_token)
  t.match(sidecar.credentials.list(), [{ principal: 'alice', upstream: 'tools', type: 'refresh_token', state: 'valid', source: 'api', error: undefined }])
  const [{ expiresAt, token } = {}] = sidecar.credentials.list()
  t.ok((expiresAt as number) > Date.now())
  t.notMatch(JSON.stringify(sidecar.credentials.list()), login.access_token)
  t.match(token, /^[0-9a-f]{8}$/)
  await sidecar.credentials.refresh('alice', 'tools')
  t.equal((await callOf(sidecar, key.reveal())).status, 200)
  t.not(bearer(upstream), login.access_token, 'a refresh by hand gives a new token')
  const rotated = bearer(upstream)
  await sidecar.close()
  const again = await start()
  t.equal((await callOf(again, key.reveal())).status, 200)
  t.equal(bearer(upstream), rotated)
  t.equal(issuer.requests.refresh_token.ok, 1)
})

t.test('P3: a credential that is replaced is used by the next call of every session', async (t) => {
  const { upstream, issuer, start } = await scene(t)
  const sidecar = await start()
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  const keys = await Promise.all(['one', 'two'].map(async (agent) => (await sidecar.sessions.create({ principal: 'alice', agent })).key.reveal()))
  for (const key of keys) await callOf(sidecar, key)
  const login = await issuer.login('alice')
  await sidecar.principals.put('alice', { credentials: { tools: login } })
  for (const key of keys) {
    t.equal((await callOf(sidecar, key)).status, 200)
    t.equal(bearer(upstream), login.access_token)
  }
  t.equal(issuer.requests.refresh_token.ok, 0)
  t.equal(issuer.families.revoked, 0)
})

t.test('P3: putting the same tokens again does not undo what was rotated since', async (t) => {
  const { upstream, issuer, start } = await scene(t)
  const sidecar = await start()
  const login = await issuer.login('alice')
  await sidecar.principals.put('alice', { credentials: { tools: login } })
  const key = await sidecar.keyFor('alice')
  await sidecar.credentials.refresh('alice', 'tools')
  await sidecar.principals.put('alice', { credentials: { tools: login } })
  await sidecar.credentials.refresh('alice', 'tools')
  t.equal((await callOf(sidecar, key)).status, 200)
  t.ok(bearer(upstream))
  t.equal(issuer.families.revoked, 0, 'the first refresh token was spent once')
})

t.test('F7: a call whose token is refused after it was replaced goes on with the new one', async (t) => {
  const arrived = door()
  const replaced = door()
  const refused = new Set<string>()
  const upstream = await startUpstream(t, (seen, response, request) => {
    const token = String(seen.headers['x-api-key'])
    arrived.open()
    void replaced.opened.then(() => guarded((token) => !refused.has(token))(seen, response, request))
    t.ok(token)
  })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }
`)
  const [old, fresh] = [freshToken(), freshToken()]
  await sidecar.principals.put('alice', { credentials: { tools: { token: old } } })
  const key = await sidecar.keyFor('alice')
  const answer = callOf(sidecar, key)
  await arrived.opened
  refused.add(old)
  await sidecar.principals.putCredential('alice', 'tools', { token: fresh })
  replaced.open()
  t.equal((await answer).status, 200)
  t.same(upstream.seen.map(({ headers }) => headers['x-api-key']), [old, fresh])
})

t.test('P3: a principal that is deleted takes its sessions and its tokens with it', async (t) => {
  const { issuer, start } = await scene(t)
  const sidecar = await start()
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await sidecar.principals.put('bob', { credentials: { tools: await issuer.login('bob') } })
  const [alice, bob] = [await sidecar.keyFor('alice'), await sidecar.keyFor('bob')]
  t.ok(await sidecar.principals.delete('alice'))
  t.notOk(await sidecar.principals.delete('alice'))
  t.equal(errorCode(await callOf(sidecar, alice)), 'ERR_SESSION_UNKNOWN')
  t.equal((await callOf(sidecar, bob)).status, 200)
  t.same(sidecar.principals.list().map(({ id }) => id), ['bob'])
  await sidecar.close()
  const again = await start()
  t.same(again.principals.list().map(({ id }) => id), ['bob'])
  t.equal(errorCode(await callOf(again, alice)), 'ERR_SESSION_UNKNOWN')
})

t.test('P3: what is put over a principal of the config counts, and when it is taken back the config\'s own goes on where it was', async (t) => {
  const env: Record<string, string> = {}
  const { upstream, issuer, start } = await scene(t, 'principals: { alice: { credentials: { tools: { refresh_token: { env: RT } } } } }', env)
  env.RT = (await issuer.login('alice')).refresh_token
  const sidecar = await start()
  const key = await sidecar.keyFor('alice')
  t.equal((await callOf(sidecar, key)).status, 200)
  const own = bearer(upstream)
  const login = await issuer.login('alice')
  t.match(await sidecar.principals.put('alice', { credentials: { tools: login } }), { source: 'both' })
  t.equal((await callOf(sidecar, key)).status, 200)
  t.equal(bearer(upstream), login.access_token)
  t.ok(await sidecar.principals.delete('alice'))
  t.equal((await callOf(sidecar, key)).status, 200, 'its sessions go on')
  t.equal(bearer(upstream), own, 'with the token from before')
  await sidecar.credentials.refresh('alice', 'tools')
  t.equal(issuer.families.revoked, 0, 'and with the refresh token that had been rotated, not with the first one')
  await t.rejects(sidecar.principals.delete('alice'), { code: 'ERR_CONFIGURED', status: 409 })
})

t.test('P3: the config\'s own credential that goes on after a DELETE is ready before anybody calls', async (t) => {
  const env: Record<string, string> = {}
  const { issuer, start } = await scene(t, 'principals: { alice: { credentials: { tools: { refresh_token: { env: RT } } } } }', env)
  env.RT = (await issuer.login('alice')).refresh_token
  const sidecar = await start()
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  t.ok(await sidecar.principals.delete('alice'))
  await eventually(() => sidecar.credentials.list()[0]?.state === 'valid', 'a token of the config\'s own')
})

const REFUSED: Array<[name: string, upstream: string, given: GivenCredential & Record<string, unknown>, path: string, message: RegExp]> = [
  ['an upstream that is none', 'tolls', { refresh_token: 'x' }, 'credentials.tolls', /no upstream of this name; there are: tools, other/],
  ['a token with a line break', 'tools', { refresh_token: 'a\nb' }, 'credentials.tools.refresh_token', /printable characters/],
  ['an access token that is none', 'tools', { refresh_token: 'x', access_token: 'a b' }, 'credentials.tools.access_token', /RFC 6750/],
  ['a type that is none', 'tools', { type: 'api_tokn', token: 'x' }, 'credentials.tools.type', /api_token/],
  ['a key of another type', 'tools', { refresh_token: 'x', token: 'y' }, 'credentials.tools.token', /unknown key for a credential of type refresh_token|refresh_token/],
  ['no type and no default', 'other', { token: 'x' }, 'credentials.other.type', /is required/],
  ['an endpoint that is no URL', 'tools', { refresh_token: 'x', token_endpoint: 'nowhere' }, 'credentials.tools.token_endpoint', /./],
  ['a secret that is missing', 'other', { type: 'client_credentials', client_id: 'a', token_endpoint: 'https://id.example/t' }, 'credentials.other.client_secret', /is required/],
]
for (const [name, upstream, given, path, message] of REFUSED) {
  t.test(`P3: ${name} is refused with its place, and nothing is kept of it`, async (t) => {
    const { start } = await scene(t)
    const sidecar = await start()
    const error = await sidecar.principals.put('alice', { credentials: { [upstream]: given } }).catch((error: unknown) => error)
    t.match(error, { name: 'ControlError', code: 'ERR_REQUEST_INVALID' })
    t.match((error as { details: unknown[] }).details[0], { path, message })
    t.equal((error as { details: Array<{ path: string }> }).details[0]?.path, path)
    t.notMatch(JSON.stringify(error), 'a\\nb')
    t.same(sidecar.principals.list(), [])
    t.same(sidecar.credentials.list(), [])
  })
}

t.test('P3: a refresh by hand says what went wrong', async (t) => {
  const { issuer, start } = await scene(t)
  const sidecar = await start()
  await t.rejects(sidecar.credentials.refresh('nobody', 'tools'), { code: 'ERR_PRINCIPAL_UNKNOWN' })
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await t.rejects(sidecar.credentials.refresh('alice', 'other'), { code: 'ERR_NOT_FOUND' })
  issuer.revoke('alice')
  await t.rejects(sidecar.credentials.refresh('alice', 'tools'), { code: 'ERR_REFRESH_FAILED', status: 502, details: [{ message: /invalid_grant/ }] })
  t.match(sidecar.credentials.list(), [{ state: 'valid', error: /invalid_grant/ }])
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  t.match(await sidecar.credentials.refresh('alice', 'tools'), { state: 'valid', error: undefined })
})

t.test('P3: a refresh by hand that finds the same API token is no failure', async (t) => {
  const { start, good } = await scene(t)
  const sidecar = await start()
  const token = freshToken()
  good.add(token)
  await sidecar.principals.put('ci', { credentials: { other: { type: 'api_token', token } } })
  t.match(await sidecar.credentials.refresh('ci', 'other'), { state: 'valid' })
})

t.test('P5: an owner is told of each refresh, and of a grant that is over', async (t) => {
  const { issuer, start } = await scene(t)
  const told: string[] = []
  const sidecar = await start({
    onRefresh: ({ principal, outcome }) => { told.push(`${principal} ${outcome}`); throw new Error('a listener that fails') },
    onRevoked: ({ principal }) => { told.push(`${principal} revoked`) },
  })
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await sidecar.credentials.refresh('alice', 'tools')
  issuer.revoke('alice')
  await t.rejects(sidecar.credentials.refresh('alice', 'tools'))
  t.same(told, ['alice ok', 'alice revoked'])
})

t.test('P3: what was put for an upstream that the config no longer has is warned of, and harms nothing else', async (t) => {
  const { issuer, upstream, start } = await scene(t)
  const folder = join(t.testdir({}), 'state')
  t.ok(await start())
  const yaml = (name: string): string => `
state: { driver: lmdb, path: "${folder}" }
upstreams: { ${name}: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo } } }
`
  const before = await startSidecar(t, yaml('tools'))
  await before.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await before.close()
  const after = await startSidecar(t, yaml('renamed'))
  t.match(await after.until(({ event }) => event === 'warning'), { reason: /principal "alice" at upstream "tools" no longer fits the config/ })
  t.match(after.principals.list(), [{ id: 'alice', upstreams: [] }])
  await after.principals.put('alice', { credentials: { renamed: await issuer.login('alice') } })
  t.equal((await call(`${after.proxyUrl}/renamed/mcp`, { key: await after.keyFor('alice') })).status, 200)
})

t.test('P3: what was put and no longer fits the config is neither used nor renewed, until it fits again', async (t) => {
  const issuer = await startOpaqueIssuer(t, { expiresIn: 60 })
  const [first, second] = [await startUpstream(t), await startUpstream(t)]
  const clock = manualClock()
  const yaml = (upstream: TestUpstream, credential: string): string => `upstreams: { tools: { url: "${upstream.origin}/mcp", credential: ${credential} } }\n`
  const fits = `{ type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: demo }`
  const sidecar = await startSidecar(t, yaml(first, fits), { clock })
  const to = async (text: string): Promise<unknown> => await sidecar.reload(async () => loadConfigText(`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\n${text}`, { env: {} }))
  await sidecar.principals.put('alice', { credentials: { tools: { refresh_token: issuer.seed } } })
  const key = await sidecar.keyFor('alice')
  t.equal((await callOf(sidecar, key)).status, 200)
  const asked = issuer.requests.length

  await to(yaml(second, '{ type: api_token }'))
  t.match(sidecar.events.filter(({ event }) => event === 'warning'), [{ reason: /no longer fits the config .*: put it again, or delete the principal$/ }])
  t.equal(errorCode(await callOf(sidecar, key)), 'ERR_CREDENTIAL_MISSING')
  await clock.advance(600_000)
  t.equal(issuer.requests.length, asked)
  t.same([second.seen.length, sidecar.credentials.list()], [0, []])

  await to(yaml(first, fits))
  t.equal((await callOf(sidecar, key)).status, 200)
  t.notOk(issuer.reused, 'and the refresh token that it had been given since is still known')
})

t.test('P3: an upstream may have the name of something that every object has', async (t) => {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, `
upstreams: { constructor: { url: "${upstream.origin}/mcp" }, tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { constructor: { type: api_token, token: { env: T } } } } }
`, { env: { T: freshToken() } })
  await sidecar.principals.putCredential('alice', 'tools', { type: 'api_token', token: freshToken() })
  t.match(sidecar.credentials.list(), [{ upstream: 'constructor', source: 'config' }, { upstream: 'tools', source: 'api' }])
  t.notOk(sidecar.events.some(({ event }) => event === 'warning'))
})

/** A sidecar whose issuer keeps its answers back, from `hold` until `go`. */
async function heldUp (t: Test, principals = ''): Promise<{ sidecar: TestSidecar, issuer: OpaqueIssuer, folder: string, hold: () => void, go: () => void }> {
  let [shut, go] = [Promise.resolve(), () => {}]
  const issuer = await startOpaqueIssuer(t, { instead: async () => { await shut; return undefined } })
  const upstream = await startUpstream(t)
  const folder = join(t.testdir({}), 'state')
  const sidecar = await startSidecar(t, `
state: { driver: lmdb, path: "${folder}" }
upstreams:
  tools: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: demo } }
  other: { url: "${upstream.origin}/other" }
${principals}`, { env: { TOKEN: freshToken() } })
  return {
    sidecar,
    issuer,
    folder,
    hold () {
      const held = door()
      shut = held.opened
      go = held.open
    },
    go: () => go(),
  }
}

for (const [what, principals, code] of [
  ['principal', '', 'ERR_PRINCIPAL_UNKNOWN'],
  ['credential', 'principals: { alice: { credentials: { other: { type: api_token, token: { env: TOKEN } } } } }', 'ERR_NOT_FOUND'],
] as const) {
  t.test(`P3: a refresh by hand whose ${what} is deleted meanwhile says so`, async (t) => {
    const { sidecar, issuer, hold, go } = await heldUp(t, principals)
    await sidecar.principals.put('alice', { credentials: { tools: { refresh_token: issuer.seed, access_token: freshToken(), expires_in: 3600 } } })
    hold()
    const refreshing = sidecar.credentials.refresh('alice', 'tools').catch((error: unknown) => error)
    await issuer.arrived(1)
    t.ok(await sidecar.principals.delete('alice'))
    go()
    t.match(await refreshing, { name: 'ControlError', code })
  })
}

t.test('P3: a client that is refused once its secret has ended is told as such, after a restart, too', async (t) => {
  const clock = manualClock()
  const ends = Math.floor(clock.now() / 1000) + 1_000
  const server = await startTokenServer(t, () => ({ status: 401, body: { error: 'invalid_client' } }))
  const yaml = `state: { driver: lmdb, path: "${t.testdir()}/state" }\nupstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }`
  const first = await startSidecar(t, yaml, { clock })
  const whyRefused = async ({ credentials }: typeof first): Promise<unknown> => await credentials.refresh('alice', 'tools').catch((error: { details: unknown }) => error.details)
  await first.principals.putCredential('alice', 'tools', {
    type: 'refresh_token', token_endpoint: server.endpoint, client_id: 'registered', client_secret: mint('s'), client_secret_expires_at: ends, access_token: mint(), refresh_token: mint('rt'),
  })
  t.match(await whyRefused(first), [{ message: /invalid_client: check client_id/ }])
  await first.close()
  clock.jump(1_000_000)
  const second = await startSidecar(t, yaml, { clock })
  t.match(await whyRefused(second), [{ message: `invalid_client: the client's secret ended at ${new Date(ends * 1000).toISOString()}: log in again, with a client that is registered anew` }])
  t.match(second.credentials.list(), [{ error: /the client's secret ended at/ }])
  t.equal(server.requests.length, 2, 'that it counts is for the issuer to say')
})

t.test('P3: a principal that is deleted while its first token is waited for was put', async (t) => {
  const { sidecar, issuer, hold, go } = await heldUp(t)
  hold()
  const putting = sidecar.principals.put('alice', { credentials: { tools: { refresh_token: issuer.seed } } }).catch((error: unknown) => error)
  await issuer.arrived(1)
  t.ok(await sidecar.principals.delete('alice'))
  go()
  t.same(await putting, { id: 'alice', tools: undefined, source: 'api', upstreams: ['tools'] })
  t.same(sidecar.principals.list(), [])
})

/** Names of the records of alice in a state that nobody uses. */
async function keptOfAlice (path: string): Promise<string[]> {
  const store = await lmdbStore(path)
  const names: string[] = []
  for await (const [name] of store.list('')) if (name.includes('alice')) names.push(name)
  await store.close()
  return names
}

/** A state in which what was put for alice does not open, and her tokens are still there. */
async function broken (t: Test, principals = '') {
  const { upstream, issuer, start } = await scene(t, principals, { TOKEN: freshToken() })
  const sidecar = await start()
  await sidecar.principals.put('alice', { credentials: { tools: await issuer.login('alice') } })
  await sidecar.credentials.refresh('alice', 'tools')
  await sidecar.close()
  const path = join(t.testdirName, 'state')
  const store = await lmdbStore(path)
  const sealed = Buffer.from(await store.read(recordName('principal', 'alice')) as Uint8Array)
  sealed[sealed.length - 1] = (sealed.at(-1) as number) ^ 1
  await store.write(recordName('principal', 'alice'), sealed)
  await store.close()
  return {
    upstream,
    login: async () => await issuer.login('alice'),
    start: async () => {
      const again = await start()
      t.match(again.events.find(({ event }) => event === 'warning'), { reason: /^the stored record principal\/alice does not open: .*; where it is this record alone, delete this principal and put it again$/ })
      return again
    },
    kept: async () => await keptOfAlice(path),
  }
}

t.test('P3: a principal whose record does not open is deleted with its tokens', async (t) => {
  const { start, kept } = await broken(t)
  const sidecar = await start()
  t.ok(await sidecar.principals.delete('alice'))
  t.notOk(await sidecar.principals.delete('alice'))
  await sidecar.close()
  t.same(await kept(), [])
})

t.test('P3: a principal whose record does not open is put anew', async (t) => {
  const { upstream, login, start } = await broken(t)
  const sidecar = await start()
  const given = await login()
  await t.rejects(sidecar.principals.putCredential('alice', 'tools', given), { code: 'ERR_STATE_UNAVAILABLE', details: [{ message: /delete this principal and put it again$/ }] }, 'what was put beside it cannot be kept')
  await sidecar.principals.put('alice', { credentials: { tools: given } })
  t.equal((await callOf(sidecar, await sidecar.keyFor('alice'))).status, 200)
  t.equal(bearer(upstream), given.access_token)
})

t.test('P3: what was put over a principal of the config, and does not open, is deleted', async (t) => {
  const { start, kept } = await broken(t, 'principals: { alice: { credentials: { other: { type: api_token, token: { env: TOKEN } } } } }')
  const sidecar = await start()
  t.ok(await sidecar.principals.delete('alice'))
  await t.rejects(sidecar.principals.delete('alice'), { code: 'ERR_CONFIGURED' })
  t.match(sidecar.principals.list(), [{ id: 'alice', source: 'config' }])
  await sidecar.close()
  t.same(await kept(), [])
})

for (const [what, principals, after] of [
  ['a principal', '', async ({ principals }) => { await principals.delete('alice') }],
  ['what was put over a principal of the config', 'principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }', async ({ principals }) => { await principals.delete('alice') }],
  ['a credential that is put no more', '', async ({ principals }) => { await principals.put('alice', { credentials: { other: { type: 'api_token', token: freshToken() } } }) }],
] as Array<[string, string, (sidecar: TestSidecar) => Promise<void>]>) {
  t.test(`P3: no token of ${what} is left in the state, though its renewal was under way`, async (t) => {
    const { sidecar, issuer, folder, hold, go } = await heldUp(t, principals)
    await sidecar.principals.put('alice', { credentials: { tools: { refresh_token: issuer.seed, access_token: freshToken(), expires_in: 3600 } } })
    hold()
    const refreshing = sidecar.credentials.refresh('alice', 'tools').catch(() => {})
    await issuer.arrived(1)
    await after(sidecar)
    go()
    await refreshing
    await sidecar.close()
    t.notOk((await keptOfAlice(folder)).includes('put-credential/alice/tools'))
  })
}

t.test('P3: the tokens of a principal that is put again are kept, though a renewal from before was under way', async (t) => {
  const { sidecar, issuer, folder, hold, go } = await heldUp(t)
  const given = { refresh_token: issuer.seed, access_token: freshToken(), expires_in: 3600 }
  await sidecar.principals.put('alice', { credentials: { tools: given } })
  hold()
  const refreshing = sidecar.credentials.refresh('alice', 'tools').catch(() => {})
  await issuer.arrived(1)
  await sidecar.principals.delete('alice')
  const putting = sidecar.principals.put('alice', { credentials: { tools: { ...given, access_token: freshToken() } } })
  go()
  await Promise.all([refreshing, putting])
  await sidecar.close()
  t.same((await keptOfAlice(folder)).sort(), ['principal/alice', 'put-credential/alice/tools'])
})
