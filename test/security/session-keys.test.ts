import { randomBytes } from 'node:crypto'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { testClock } from '../helpers/clock.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const clock = testClock()
const upstream = await startUpstream(t)
const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() }, clock })
const url = `${sidecar.proxyUrl}/tools/mcp`

const good = await sidecar.keyFor('alice')
const expiring = (await sidecar.sessions.create({ principal: 'alice', agent: 'expiring', ttlMs: 60_000 })).key.reveal()
const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: 'revoked' })
const revoked = key.reveal()
for (const key of [expiring, revoked]) await call(url, { key })
const served = upstream.seen.length
await sidecar.sessions.revoke(id)
clock.jump(61_000)

const flipped = good.replace(/[a-z]/g, (letter) => letter.toUpperCase()).replace(/^VK_/, 'vk_')
const WRONG: Record<string, string> = {
  unknown: 'vk_' + randomBytes(32).toString('base64url'),
  truncated: good.slice(0, -1),
  longer: good + 'A',
  'in upper case': flipped,
  'with an upper-case prefix': good.replace('vk_', 'VK_'),
  'without its prefix': good.slice(3),
  revoked,
  expired: expiring,
  empty: '',
  'only a prefix': 'vk_',
  'all zeros, which malformed keys are hashed as': 'vk_' + '0'.repeat(43),
  'with characters of plain base64': 'vk_' + '+/'.repeat(21) + '=',
  'very long': 'vk_' + 'a'.repeat(10_000),
  'two at once': `${good}, ${good}`,
  'the name of a prototype': '__proto__',
  'the name of a constructor': 'constructor',
}

/** What a caller could tell two refusals apart by, its code and its words left out. */
async function shapeOf (key: string, headers?: Record<string, string>) {
  const answer = await call(url, { ...(headers === undefined ? { key } : { headers }), body: rpc('tools/list', {}, 'r-1') })
  const body = answer.json()
  const { date, 'content-length': length, ...rest } = answer.headers
  return {
    status: answer.status,
    headers: rest,
    names: Object.keys(answer.headers),
    body: { ...body, error: { ...body.error, message: typeof body.error.message, data: { ...body.error.data, code: typeof body.error.data.code, request_id: typeof body.error.data.request_id } } },
  }
}

const reference = await shapeOf(WRONG.unknown as string)

t.test('row 50: a key is good until it is revoked or expires', (t) => {
  t.equal(served, 2)
  t.end()
})

t.test('row 50: an unknown key is a 401 that starts no OAuth dance', async (t) => {
  t.match(reference, {
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="mcp-valet", error="invalid_token"', 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: { jsonrpc: '2.0', id: 'r-1', error: { code: -32001 } },
  })
  t.notMatch(reference.headers['www-authenticate'], 'resource_metadata')
})

for (const [what, key] of Object.entries(WRONG)) {
  t.test(`row 50: a key that is ${what} gets the same status, headers and shape`, async (t) => {
    t.same(await shapeOf(key), reference)
  })
  if (!key.startsWith('vk_') && !key.startsWith('VK_')) continue
  t.test(`row 50: a bearer that is ${what} gets the same too`, async (t) => {
    t.same(await shapeOf(key, { authorization: `Bearer ${key}` }), reference)
  })
}

t.test('row 50: only who holds the key learns that it has expired', async (t) => {
  t.equal(errorCode(await call(url, { key: expiring })), 'ERR_SESSION_EXPIRED')
  t.equal(errorCode(await call(url, { key: revoked })), 'ERR_SESSION_UNKNOWN')
  t.equal(errorCode(await call(url, { key: expiring.slice(0, -1) })), 'ERR_SESSION_UNKNOWN')
})

t.test('row 50: no key is the same 401 with a code of its own', async (t) => {
  const answer = await call(url)
  t.equal(errorCode(answer), 'ERR_SESSION_REQUIRED')
  t.equal(answer.headers['www-authenticate'], reference.headers['www-authenticate'])
})

t.test('row 50: a wrong key is refused at an upstream that is open to all', async (t) => {
  const open = await startSidecar(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }`)
  t.equal((await call(`${open.proxyUrl}/tools/mcp`, { key: WRONG.unknown as string })).status, 401)
  t.equal((await call(`${open.proxyUrl}/tools/mcp`)).status, 200)
})

t.test('row 50: the header of the key counts before a bearer', async (t) => {
  const answer = await call(url, { key: WRONG.unknown as string, headers: { authorization: `Bearer ${good}` } })
  t.equal(answer.status, 401)
})

t.test('row 50: no wrong key has reached the upstream, and the good one still works', async (t) => {
  t.equal(upstream.seen.filter(({ url }) => url === '/mcp').length, served + 1, 'the one call without a key that was allowed')
  t.equal((await call(url, { key: good })).status, 200)
})

t.test('row 50: each refusal is in the log with its code, and never with its key', async (t) => {
  const denied = sidecar.events.filter((event) => event.event === 'denied')
  t.ok(denied.length > Object.keys(WRONG).length)
  for (const key of Object.values(WRONG)) if (key.length > 20) t.notMatch(JSON.stringify(sidecar.events), key.slice(4, 16))
})

t.end()
