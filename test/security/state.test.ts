import { chmod, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { createIssuer } from '../../src/demo/issuer.js'
import { call, errorCode } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

/** Two principals whose refreshed tokens are kept in a folder; `again` starts a sidecar on it as a restart would. */
async function start (t: Test) {
  const folder = join(t.testdir(), 'state')
  const upstream = await startUpstream(t)
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 3600 })
  t.teardown(async () => { await issuer.close() })
  const env = { ALICE: (await issuer.login('alice')).refresh_token, BOB: (await issuer.login('bob')).refresh_token }
  const config = (deadline: string): string => `
state: { driver: lmdb, path: "${folder}" }
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: ${deadline}, credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo } } }
principals:
  alice: { credentials: { tools: { refresh_token: { env: ALICE } } } }
  bob: { credentials: { tools: { refresh_token: { env: BOB } } } }
`
  const again = async () => await startSidecar(t, config('1s'), { env })
  const first = await startSidecar(t, config('30s'), { env })
  for (const who of ['alice', 'bob']) await call(`${first.proxyUrl}/tools/mcp`, { key: await first.keyFor(who) })
  t.equal(upstream.seen.length, 2)
  await first.close()
  return { folder, upstream, issuer, again, spent: structuredClone(issuer.requests) }
}

/** Changes the records under the sidecar's feet. */
async function tamper (folder: string, change: (records: Map<string, Buffer>) => void): Promise<void> {
  const database = open<Buffer, string>({ path: join(folder, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
  const records = new Map([...database.getRange()].map(({ key, value }) => [key, Buffer.from(value)]))
  change(records)
  for (const [key, value] of records) await database.put(key, value)
  await database.close()
}

const ALICE = 'credential/alice/tools'
const BOB = 'credential/bob/tools'

t.test('row 48: what was kept is taken up again after a restart', async (t) => {
  const { upstream, issuer, again, spent } = await start(t)
  const sidecar = await again()
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  t.equal(upstream.seen[2]?.headers.authorization, upstream.seen[0]?.headers.authorization)
  t.same(issuer.requests, spent, 'no refresh token was spent')
})

for (const [what, at] of [['its version', 0], ['its nonce', 3], ['its content', 20], ['its tag', -1]] as const) {
  t.test(`row 48: a record with a flipped bit in ${what} is refused, and no other token is used instead`, async (t) => {
    const { folder, upstream, issuer, again, spent } = await start(t)
    await tamper(folder, (records) => {
      const record = records.get(ALICE) as Buffer
      const index = at < 0 ? record.length + at : at
      record[index] = (record[index] as number) ^ 1
    })
    const sidecar = await again()
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
    t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
    t.equal(upstream.seen.length, 2, 'nothing was sent')
    t.same(issuer.requests, spent, 'nor was the first refresh token spent again, which would end the family')
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('bob') })).status, 200, 'and nobody else suffers')
    t.ok(sidecar.events.some((event) => event.event === 'refresh' && event.outcome === 'unavailable' && /stored record credential\/alice\/tools/.test(String(event.reason))), 'the log says which')
  })
}

t.test('row 48: a record cut short is refused', async (t) => {
  const { folder, upstream, again } = await start(t)
  await tamper(folder, (records) => records.set(ALICE, (records.get(ALICE) as Buffer).subarray(0, 20)))
  const sidecar = await again()
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.equal(upstream.seen.length, 2)
})

t.test('row 48: records that were swapped open for neither', async (t) => {
  const { folder, upstream, again } = await start(t)
  await tamper(folder, (records) => {
    const [alice, bob] = [records.get(ALICE) as Buffer, records.get(BOB) as Buffer]
    records.set(ALICE, bob).set(BOB, alice)
  })
  const sidecar = await again()
  for (const who of ['alice', 'bob']) {
    t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor(who) })), 'ERR_CREDENTIAL_UNAVAILABLE', who)
  }
  t.equal(upstream.seen.length, 2, 'alice never calls with the token of bob')
})

t.test('row 48: under another key nothing opens', async (t) => {
  const { folder, upstream, again } = await start(t)
  await writeFile(join(folder, 'state.key'), mintToken().padEnd(64, 'x'))
  await t.rejects(again(), { name: 'StateError', message: /does not open: it was changed, or state.key is not the key/ })
  t.equal(upstream.seen.length, 2)
})

t.test('row 48: only their owner can read the key and the records', async (t) => {
  const { folder } = await start(t)
  t.equal((await stat(join(folder, 'state.key'))).mode & 0o777, 0o600)
  t.equal((await stat(folder)).mode & 0o777, 0o700)
  t.equal(Buffer.from(await readFile(join(folder, 'state.key'), 'latin1'), 'base64').length, 32)
})

for (const mode of [0o644, 0o604, 0o602, 0o601, 0o666, 0o777]) {
  t.test(`row 47: a secret's file with mode ${mode.toString(8)} is refused`, async (t) => {
    const token = mintToken()
    const file = join(t.testdir({ token }), 'token')
    await chmod(file, mode)
    const upstream = await startUpstream(t)
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }
principals: { alice: { credentials: { tools: { type: api_token, token: { file: "${file}" } } } } }
`)
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
    t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
    t.same(upstream.seen, [])
    t.match(await sidecar.until((event) => event.event === 'refresh'), { reason: /open to every user .* chmod o-rwx/ })
    t.notMatch(JSON.stringify(sidecar.events), token)
  })
}

for (const mode of [0o600, 0o400, 0o640, 0o440]) {
  t.test(`row 47: a secret's file with mode ${mode.toString(8)} is used`, async (t) => {
    const token = mintToken()
    const file = join(t.testdir({ token }), 'token')
    await chmod(file, mode)
    const upstream = await startUpstream(t)
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { file: "${file}" } } } } }
`)
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
    t.equal(upstream.seen[0]?.headers['x-api-key'], token)
  })
}
