import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { lmdbStore } from '../../src/state/lmdb.js'
import { loadConfigText } from '../../src/config/load.js'
import { openState } from '../../src/state/open.js'
import { recordName } from '../../src/credential/record.js'
import { call, errorCode } from '../helpers/call.js'
import { manualClock, settled } from '../helpers/manual-clock.js'
import { startSidecar, type StartOptions, type TestSidecar } from '../helpers/sidecar.js'
import { bearerOf, byRefreshToken, mint, oneUpstream, startOpaqueIssuer, startTokenServer } from '../helpers/tokens.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const refreshed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome === 'ok'
const failed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome !== 'ok'
const lmdb = (folder: string, more = ''): string => `state: { driver: lmdb, path: "${folder}"${more} }\n`

async function once (t: Test, yaml: string, options: StartOptions, use: (sidecar: TestSidecar) => Promise<void>): Promise<void> {
  const sidecar = await startSidecar(t, yaml, options)
  await use(sidecar)
  await sidecar.close()
}

const callOf = async (sidecar: TestSidecar, principal = 'alice') => await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor(principal) })

t.test('row 10: a restart keeps a rotated refresh token and the access token that is still good', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const yaml = lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint))
  const env = { RT: issuer.seed }
  await once(t, yaml, { env }, async (sidecar) => { await sidecar.until(refreshed) })
  await once(t, yaml, { env }, async (sidecar) => {
    t.equal((await callOf(sidecar)).status, 200)
    t.equal(issuer.requests.length, 1, 'it had a good token')
    issuer.issued.push('the one before is over')
    t.equal((await callOf(sidecar)).status, 200, 'and the refresh token that follows the seed')
  })
  t.equal(issuer.reused, false)
})

t.test('row 10: a start that fails for a port that is taken, either one, has spent no refresh token', async (t) => {
  const issuer = await startOpaqueIssuer(t)
  const { origin } = await startUpstream(t)
  const { port } = new URL(origin)
  for (const taken of ['listen', 'admin']) {
    const [proxy, admin] = taken === 'listen' ? [port, 0] : [0, port]
    const yaml = `listen: 127.0.0.1:${proxy}\nadmin: { listen: 127.0.0.1:${admin} }\n${oneUpstream(origin, byRefreshToken(issuer.endpoint))}`
    await t.rejects(startSidecar(t, yaml, { env: { RT: issuer.seed } }), { code: 'EADDRINUSE' }, taken)
    t.equal(issuer.requests.length, 0, taken)
  }
  await once(t, oneUpstream(origin, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed } }, async (sidecar) => { await sidecar.until(refreshed) })
  t.equal(issuer.requests.length, 1, 'and the next start has it, before anybody calls')
})

t.test('row 10: a restart after the token has expired refreshes with the rotated refresh token', async (t) => {
  const folder = join(t.testdir(), 'state')
  const clock = manualClock()
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded(issuer.accepts))
  const yaml = lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint))
  const options = { env: { RT: issuer.seed }, clock }
  await once(t, yaml, options, async (sidecar) => { await sidecar.until(refreshed) })
  clock.jump(2 * 3_600_000)
  await once(t, yaml, options, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
  t.equal(issuer.reused, false)
})

t.test('row 10: a new first token in the config wins over the stored pair', async (t) => {
  const folder = join(t.testdir(), 'state')
  const [old, fresh] = [await startOpaqueIssuer(t), await startOpaqueIssuer(t)]
  const upstream = await startUpstream(t)
  const yaml = (issuer: typeof old): string => lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint))
  await once(t, yaml(old), { env: { RT: old.seed } }, async (sidecar) => { await sidecar.until(refreshed) })
  await once(t, yaml(fresh), { env: { RT: fresh.seed } }, async (sidecar) => {
    await callOf(sidecar)
    t.equal(fresh.requests[0]?.form.get('refresh_token'), fresh.seed)
    t.equal(bearerOf(upstream.seen.at(-1)), fresh.issued[0])
  })
  t.equal(fresh.reused, false)
})

t.test('row 10: a token that was kept for another scope or resource is not sent; the refresh token is used for a new one', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t)
  const yaml = (scope: string): string => lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint, `scope: ${scope}`))
  const env = { RT: issuer.seed }
  await once(t, yaml('read'), { env }, async (sidecar) => { await sidecar.until(refreshed) })
  await once(t, yaml('write'), { env }, async (sidecar) => {
    await callOf(sidecar)
    t.equal(bearerOf(upstream.seen.at(-1)), issuer.issued[1])
  })
  t.equal(issuer.reused, false)
  t.equal(issuer.requests[1]?.form.get('scope'), 'write')
})

t.test('row 10: a token that was kept for a resource is not sent once none is to be asked for', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t)
  const yaml = (more = ''): string => lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint, more))
  const env = { RT: issuer.seed }
  await once(t, yaml(), { env }, async (sidecar) => { await sidecar.until(refreshed) })
  await once(t, yaml('resource: none'), { env }, async (sidecar) => {
    await callOf(sidecar)
    t.equal(bearerOf(upstream.seen.at(-1)), issuer.issued[1])
  })
  t.same(issuer.requests.map(({ form }) => form.get('resource')), [`${upstream.origin}/mcp`, null])
})

t.test('row 10: a token that was kept for one audience is not sent to another', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issued: string[] = []
  const server = await startTokenServer(t, () => ({ body: { access_token: issued[issued.push(mint()) - 1], token_type: 'Bearer', expires_in: 600 } }))
  const upstream = await startUpstream(t)
  for (const [audience, nth] of [['', 0], ['', 0], ['audience: a', 1], ['audience: b', 2], ['audience: b', 2]] as const) {
    await once(t, lmdb(folder) + oneUpstream(upstream.origin, `{ type: client_credentials, token_endpoint: "${server.endpoint}", client_id: c, client_secret: { env: S }, resource: none, ${audience} }`), { env: { S: 'secret' } }, async (sidecar) => {
      await callOf(sidecar)
      t.equal(bearerOf(upstream.seen.at(-1)), issued[nth])
    })
  }
})

/** A product's own refresh endpoint, whose tokens say for which tenant they are; refresh tokens rotate. */
async function startTenants (t: Test) {
  const served: Array<{ tenant: string, by: string }> = []
  const server = await startTokenServer(t, ({ body }, nth) => {
    const asked = JSON.parse(body) as { tenant: string, by: string }
    served.push(asked)
    return { body: { token: `${asked.tenant}-${nth}`, next: `rt-${nth}`, ttl: 3600 } }
  })
  const upstream = await startUpstream(t)
  const yaml = (folder: string, tenant: string, more = '', by = 'refresh'): string => lmdb(folder) + oneUpstream(upstream.origin, `{ type: json_refresh, url: "${server.endpoint}", body: { by: "{${by}_token}", tenant: ${tenant} }, refresh_token: { env: RT }, response: { access_token: /token, refresh_token: /next, expires_in: /ttl }${more} }`)
  return { served, yaml, token: () => bearerOf(upstream.seen.at(-1)) }
}

t.test('row 10: json_refresh: a token that was asked for otherwise than the config says now is not sent; the refresh token is used for a new one', async (t) => {
  const folder = join(t.testdir(), 'state')
  const { served, yaml, token } = await startTenants(t)
  const env = { RT: 'rt-0', KEY: mint('k'), OTHER: mint('k') }
  for (const [config, sent, by] of [
    [yaml(folder, 'test'), 'test-1', 'rt-0'],
    [yaml(folder, 'prod'), 'prod-2', 'rt-1'],
    [yaml(folder, 'prod'), 'prod-2', undefined],
    [yaml(folder, 'prod', ', headers: { X-Key: { env: KEY } }'), 'prod-3', 'rt-2'],
    [yaml(folder, 'prod', ', headers: { X-Key: { env: OTHER } }'), 'prod-4', 'rt-3'],
    [yaml(folder, 'prod', ', headers: { X-Key: { env: OTHER } }, method: PUT'), 'prod-5', 'rt-4'],
  ] as const) {
    const before = served.length
    await once(t, config, { env }, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
    t.equal(token(), sent)
    t.equal(served[before]?.by, by)
  }
  const before = served.length
  env.OTHER = mint('k')
  await once(t, yaml(folder, 'prod', ', headers: { X-Key: { env: OTHER } }, method: PUT'), { env }, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
  t.equal(served.length, before, 'another value in the same place is no other config')
})

t.test('row 10: json_refresh: so it is after a reload, too', async (t) => {
  const folder = join(t.testdir(), 'state')
  const { yaml, token } = await startTenants(t)
  const env = { RT: 'rt-0' }
  const sidecar = await startSidecar(t, yaml(folder, 'test'), { env })
  await callOf(sidecar)
  t.equal(token(), 'test-1')
  await sidecar.reload(async () => loadConfigText(`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n${yaml(folder, 'prod')}`, { env }))
  await callOf(sidecar)
  t.equal(token(), 'prod-2')
})

t.test('row 10: json_refresh: an access token by which the next one is had is kept, whatever else is asked with it', async (t) => {
  const folder = join(t.testdir(), 'state')
  const { served, yaml, token } = await startTenants(t)
  const env = { RT: 'rt-0', AT: 'given' }
  const more = ', access_token: { env: AT }'
  await once(t, yaml(folder, 'test', more, 'access'), { env }, async (sidecar) => { await sidecar.credentials.refresh('alice', 'tools') })
  await once(t, yaml(folder, 'prod', more, 'access'), { env }, async (sidecar) => {
    await sidecar.credentials.refresh('alice', 'tools')
    await callOf(sidecar)
  })
  t.match(served, [{ by: 'given' }, { by: 'test-1' }])
  t.equal(token(), 'prod-2')
})

t.test('row 10: json_refresh: a record from before its terms named what is asked with gives up its access token and nothing else', async (t) => {
  const { served, yaml, token } = await startTenants(t)
  const folder = join(t.testdir(), 'state')
  const env = { RT: 'rt-0' }
  const config = yaml(folder, 'prod')
  await once(t, config, { env }, async (sidecar) => { await callOf(sidecar) })
  const { vault } = await openState({ driver: 'lmdb', path: folder, key: undefined, previousKeys: [] })
  const name = recordName('credential', 'alice', 'tools')
  const { terms, ...record } = await vault.read<{ terms: string }>(name) as { terms: string }
  const old = JSON.stringify((JSON.parse(terms) as unknown[]).slice(0, 2))
  t.not(old, terms)
  await vault.write(name, { ...record, terms: old })
  await vault.close()
  await once(t, config, { env }, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
  t.match(served, [{ by: 'rt-0' }, { by: 'rt-1' }])
  t.equal(token(), 'prod-2')
})

t.test('row 10: a revocation is remembered over a restart, told again, and ended by other terms', async (t) => {
  const folder = join(t.testdir(), 'state')
  const clock = manualClock()
  const server = await startTokenServer(t, ({ form }) => form.get('client_id') === 'agents'
    ? { status: 400, body: { error: 'invalid_grant' } }
    : { body: { access_token: mint(), token_type: 'Bearer', expires_in: 60 } })
  const upstream = await startUpstream(t)
  const yaml = lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(server.endpoint))
  const options = { env: { RT: mint('rt') }, clock }
  for (let start = 0; start < 2; start++) {
    await once(t, yaml, options, async (sidecar) => {
      t.match(await sidecar.until(failed), { outcome: 'revoked', attempt: 1 })
      t.equal(errorCode(await callOf(sidecar)), 'ERR_CREDENTIAL_REVOKED')
    })
  }
  t.equal(server.requests.length, 1)
  await once(t, yaml.replace('client_id: agents', 'client_id: the-right-one'), options, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
})

t.test('row 10: with another state key it says so, and spends no refresh token', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t)
  const yaml = lmdb(folder, ', key: { env: KEY }') + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint))
  const [right, wrong] = [mint('k') + mint('k'), mint('k') + mint('k')]
  const first = await startSidecar(t, yaml, { env: { RT: issuer.seed, KEY: right } })
  await first.until(refreshed)
  await first.close()
  await t.rejects(startSidecar(t, yaml, { env: { RT: issuer.seed, KEY: wrong } }), /does not open: it was changed, or state\.key is not the key/)
  t.equal(issuer.requests.length, 1)
  await once(t, yaml, { env: { RT: issuer.seed, KEY: right } }, async (sidecar) => { t.equal((await callOf(sidecar)).status, 200) })
  t.equal(issuer.requests.length, 1)
})

t.test('row 10: a state key that is too short, or open to everybody, is refused at the start', async (t) => {
  const folder = join(t.testdir(), 'state')
  await t.rejects(startSidecar(t, lmdb(folder, ', key: { env: KEY }') + oneUpstream('http://127.0.0.1:1', '{ type: api_token, token: { env: T } }'), { env: { KEY: 'short' } }), /state\.key \(env KEY\) is too short: it needs at least 32 bytes/)
  const yaml = lmdb(folder) + oneUpstream('http://127.0.0.1:1', '{ type: api_token, token: { env: T } }')
  await once(t, yaml, {}, async () => {})
  chmodSync(join(folder, 'state.key'), 0o644)
  await t.rejects(startSidecar(t, yaml), /open to every user of this machine: chmod o-rwx/)
})

t.test('row 48: a record that was flipped, cut, moved under another name or marked as newer is refused', async (t) => {
  const folder = join(t.testdir(), 'state')
  const issuer = await startOpaqueIssuer(t, { rotate: false })
  const upstream = await startUpstream(t, guarded((token) => issuer.issued.includes(token)))
  const yaml = lmdb(folder) + oneUpstream(upstream.origin, byRefreshToken(issuer.endpoint)) +
    `  bob: { credentials: { tools: ${byRefreshToken(issuer.endpoint)} } }\n`
  const env = { RT: issuer.seed }
  await once(t, yaml, { env }, async (sidecar) => {
    await sidecar.until(() => sidecar.events.filter(refreshed).length === 2)
  })
  const name = recordName('credential', 'alice', 'tools')
  const tamper = async (change: (record: Buffer, bobs: Buffer) => Buffer): Promise<void> => {
    const store = await lmdbStore(folder)
    const read = async (key: string): Promise<Buffer> => Buffer.from(await store.read(key) as Uint8Array)
    const before = await read(name)
    await store.write(name, change(Buffer.from(before), await read(recordName('credential', 'bob', 'tools'))))
    await store.close()
    const clock = manualClock()
    await once(t, yaml, { env, clock }, async (sidecar) => {
      const answer = callOf(sidecar)
      t.match(await sidecar.until(failed), { principal: 'alice', outcome: 'unavailable', reason: /the stored record credential\/alice\/tools (does not open|is cut short|was written by a newer version)/ })
      t.equal((await callOf(sidecar, 'bob')).status, 200, 'which harms nobody else')
      await settled()
      // Until its deadline the call waits for a better state; the clock brings that.
      const call = { waiting: true }
      void answer.then(() => { call.waiting = false })
      while (call.waiting) { await clock.advance(1_000); await settled() }
      t.equal(errorCode(await answer), 'ERR_CREDENTIAL_UNAVAILABLE')
    })
    const after = await lmdbStore(folder)
    await after.write(name, before)
    await after.close()
  }
  await tamper((record) => { record[record.length - 20] = (record.at(-20) as number) ^ 1; return record })
  await tamper((record) => { record[5] = (record[5] as number) ^ 1; return record })
  await tamper((record) => record.subarray(0, 20))
  await tamper((_record, bobs) => bobs)
  await tamper((record) => { record[0] = 1; return record })
  await tamper((record) => { record[0] = 99; return record })
  t.equal(issuer.requests.length, 2, 'and no refresh token was spent on it')
})

t.test('row 46: state files hold no token and no key in clear, and are their owner\'s alone', async (t) => {
  const dir = t.testdir()
  const folder = join(dir, 'state')
  const issuer = await startOpaqueIssuer(t)
  const yaml = lmdb(folder) + oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint))
  const sidecar = await startSidecar(t, yaml, { env: { RT: issuer.seed } })
  await sidecar.until(refreshed)
  const copy = join(dir, 'copy')
  cpSync(folder, copy, { recursive: true })
  await sidecar.close()
  t.equal(statSync(folder).mode & 0o777, 0o700)
  for (const place of [folder, copy]) {
    const files = readdirSync(place)
    t.same(files.sort(), ['state.key', 'valet.mdb', 'valet.mdb-lock'])
    for (const file of files) {
      t.equal(statSync(join(place, file)).mode & 0o777, 0o600, file)
      const bytes = readFileSync(join(place, file))
      for (const secret of [issuer.seed, issuer.refresh, ...issuer.issued, 'refresh_token']) t.notOk(bytes.includes(secret), `${file} without ${secret.slice(0, 3)}`)
    }
  }
})

t.test('row 46: state files are their owner\'s alone also in a folder that was there before', async (t) => {
  const folder = join(t.testdir(), 'state')
  mkdirSync(folder, { mode: 0o755 })
  await once(t, lmdb(folder) + oneUpstream('http://127.0.0.1:1', '{ type: api_token, token: { env: T } }'), {}, async () => {})
  for (const file of readdirSync(folder)) t.equal(statSync(join(folder, file)).mode & 0o777, 0o600, file)
})

t.test('row 10: a principal with the longest name there may be is kept too', async (t) => {
  const folder = join(t.testdir(), 'state')
  const name = '漢'.repeat(256)
  const issuer = await startOpaqueIssuer(t)
  const yaml = lmdb(folder) + oneUpstream('http://127.0.0.1:1', byRefreshToken(issuer.endpoint)).replace('alice', name)
  const env = { RT: issuer.seed }
  await once(t, yaml, { env }, async (sidecar) => { await sidecar.until(refreshed) })
  await once(t, yaml, { env }, async (sidecar) => {
    await callOf(sidecar, name)
    t.equal(sidecar.events.filter(({ event }) => event === 'state_failed').length, 0)
  })
  t.equal(issuer.requests.length, 1)
})
