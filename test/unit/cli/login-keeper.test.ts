import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openKeeper } from '../../../src/cli/login-keeper.js'
import { systemClock } from '../../../src/clock.js'
import { loadConfigText } from '../../../src/config/load.js'
import type { Keeper } from '../../../src/login/keeper.js'
import { answer } from '../../helpers/login-peer.js'
import { mintToken } from '../../helpers/mint.js'
import { startSidecar } from '../../helpers/sidecar.js'
import { startUpstream, type Answer } from '../../helpers/upstream.js'

const GIVEN = { type: 'refresh_token', token_endpoint: 'http://127.0.0.1:1/token', client_id: 'c', client_auth: 'none', refresh_token: 'rt', access_token: 'at', expires_in: 3600 }
const UPSTREAMS = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }'

interface Asked { readonly admin?: string, readonly env?: Record<string, string>, readonly state?: string, readonly adminUrl?: string, readonly warn?: (line: string) => void }

/** Where a login with this config would be kept. */
async function open (t: Test, { admin = '{}', env = {}, state = 'driver: memory', adminUrl, warn = () => {} }: Asked): Promise<Keeper> {
  const yaml = `admin: ${admin}\nstate: { ${state} }\n${UPSTREAMS}\n`
  const file = join(t.testdir(), 'valet.yaml')
  writeFileSync(file, yaml)
  return await openKeeper(loadConfigText(yaml, { env }), { config: file, env, adminUrl }, systemClock, warn)
}

/** Something at admin.listen, and what names it. */
async function startAdmin (t: Test, reply: Answer): Promise<{ asked: Required<Pick<Asked, 'admin' | 'env'>>, seen: Awaited<ReturnType<typeof startUpstream>>['seen'], token: string, origin: string }> {
  const { origin, seen } = await startUpstream(t, reply)
  const token = mintToken('admin')
  return { asked: { admin: `{ listen: "${new URL(origin).host}", token: { env: ADMIN } }`, env: { ADMIN: token } }, seen, token, origin }
}

t.test('a sidecar that runs is given the login, and uses it', async (t) => {
  const token = mintToken('admin')
  const sidecar = await startSidecar(t, `admin: { listen: "127.0.0.1:0", token: { env: ADMIN } }\nlisten: 127.0.0.1:0\n${UPSTREAMS}`, { env: { ADMIN: token } })
  const keeper = await open(t, { admin: `{ listen: "${new URL(sidecar.adminUrl).host}", token: { env: ADMIN } }`, env: { ADMIN: token } })
  t.equal(keeper.where, `by the sidecar at ${sidecar.adminUrl}`)
  await keeper.save('al ice/é', 'tools', GIVEN)
  await keeper.close()
  t.match(sidecar.principals.list(), [{ id: 'al ice/é', source: 'api', upstreams: ['tools'] }])
  t.match(sidecar.credentials.list(), [{ type: 'refresh_token', state: 'valid', source: 'api' }])
  await t.rejects(keeper.save('alice', 'tools', { ...GIVEN, issuer: 'https://id.example' }), { name: 'LoginError', message: /give either token_endpoint or issuer/ })
})

t.test('--admin-url names another place, which must answer', async (t) => {
  const { origin, seen } = await startUpstream(t, answer(200, { principals: [], next_cursor: null }))
  const keeper = await open(t, { adminUrl: origin, env: { MCP_VALET_ADMIN_TOKEN: mintToken() } })
  t.equal(keeper.where, `by the sidecar at ${origin}`)
  t.equal(seen.length, 1)
  await t.rejects(open(t, { adminUrl: 'http://127.0.0.1:1', state: `path: "${t.testdirName}/state"` }), { name: 'LoginError', message: /cannot be reached at http:\/\/127\.0\.0\.1:1/ })
})

t.test('tokens that would cross a network as they are are warned of', async (t) => {
  const warnings: string[] = []
  await t.rejects(open(t, { adminUrl: 'http://valet.invalid:8402', warn: (line) => warnings.push(line) }))
  t.same(warnings, ['tokens would cross the network unencrypted to http://valet.invalid:8402'])
})

t.test('where none runs the state is used, and memory is none', async (t) => {
  const env = { ADMIN: mintToken() }
  const gone = '{ listen: "127.0.0.1:1", token: { env: ADMIN } }'
  await t.rejects(open(t, { admin: gone, env }), { name: 'LoginError', message: /no sidecar answers at admin\.listen; start `mcp-valet serve`/ })
  await t.rejects(open(t, { admin: '{ listen: "127.0.0.1:0", token: { env: ADMIN } }', env }), { message: /no sidecar answers/ }, 'its port is not known')
  await t.rejects(open(t, { admin: '{ listen: "127.0.0.1:1" }' }), { message: /without admin\.token/ })
  const folder = join(t.testdirName, 'state')
  const keeper = await open(t, { admin: gone, env, state: `driver: lmdb, path: "${folder}"` })
  t.equal(keeper.where, `in the state (${folder})`)
  await t.rejects(keeper.save('alice', 'tools', { type: 'refresh_token', refresh_token: 'rt' }), { name: 'LoginError', message: /^the login could not be kept: .*; client_id: is required beside refresh_token$/ })
  await t.rejects(keeper.save('alice', 'tools', { ...GIVEN, refresh_token: 'r\nt' }), { name: 'LoginError', message: /^the login could not be kept: refresh_token: .*printable/ })
  await keeper.save('alice', 'tools', GIVEN)
  await keeper.close()
})

t.test('an admin token that cannot be read is told, and what it is is not', async (t) => {
  await t.rejects(open(t, { admin: '{ listen: "127.0.0.1:1", token: { env: ADMIN } }' }), { name: 'LoginError', message: /^the admin token cannot be read: the environment variable ADMIN is not set/ })
})

t.test('a sidecar that refuses is told, before anybody logs in', async (t) => {
  const cases: ReadonlyArray<[reply: Answer, message: RegExp]> = [
    [answer(401, { error: { code: 'ERR_ADMIN_UNAUTHORIZED', message: '', details: [] } }), /refuses the admin token of env ADMIN/],
    [answer(404, { error: { code: 'ERR_ADMIN_OFF', message: 'The admin API is off.', details: [] } }), /The admin API is off\./],
    [answer(200, { ok: true }), /is not the admin API of mcp-valet \(HTTP 200\)/],
    [answer(404, 'nothing here'), /is not the admin API of mcp-valet \(HTTP 404\)/],
    [answer(302, {}, { location: 'http://127.0.0.1:1/' }), /is not the admin API of mcp-valet \(HTTP 302\)/],
  ]
  for (const [reply, message] of cases) {
    const { asked, token } = await startAdmin(t, reply)
    const error = await open(t, { ...asked, state: `driver: lmdb, path: "${t.testdirName}/state"` }).catch((error: Error) => error) as Error
    t.match(error, { name: 'LoginError', message })
    t.notMatch(error.message, token)
  }
})
