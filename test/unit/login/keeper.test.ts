import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/clock.js'
import type { Config } from '../../../src/config/config.js'
import { loadConfigText } from '../../../src/config/load.js'
import { openKeeper } from '../../../src/login/keeper.js'
import { adminKeeper } from '../../../src/login/keeper-admin.js'
import { answer } from '../../helpers/login-peer.js'
import { mintToken } from '../../helpers/mint.js'
import { startUpstream, type Answer } from '../../helpers/upstream.js'

const never = new AbortController().signal
const GIVEN = { type: 'refresh_token', issuer: 'https://id.example', client_id: 'c', client_auth: 'none', refresh_token: 'rt', access_token: 'at' }

function configOf (admin: string, env: Record<string, string> = {}, state = 'memory'): Config {
  return loadConfigText(`admin: ${admin}\nstate: { driver: ${state} }\nupstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }`, { env })
}

function refusing (status: number, code: string, more: object = {}): Answer {
  return answer(status, { error: { code, message: 'Said \u001b[2J so.', details: [], ...more } })
}

/** Something at admin.listen, and the config that names it. */
async function startAdmin (t: Test, reply: Answer): Promise<{ admin: Config['admin'], config: Config, seen: Awaited<ReturnType<typeof startUpstream>>['seen'], token: string, whom: string }> {
  const { origin, seen } = await startUpstream(t, reply)
  const token = mintToken('admin')
  const config = configOf(`{ listen: "${new URL(origin).host}", token: { env: ADMIN } }`, { ADMIN: token })
  return { admin: config.admin, config, seen, token, whom: `the sidecar at ${origin}` }
}

t.test('a sidecar that runs is given the login', async (t) => {
  const { config, seen, token, whom } = await startAdmin(t, answer(200, {}))
  const keeper = await openKeeper(config, systemClock, never)
  t.equal(keeper.where, `by ${whom}`)
  await keeper.save('al ice/é', 'tools', GIVEN)
  await keeper.close()
  t.match(seen.map(({ method, url }) => `${method} ${url}`), ['GET /v1/principals', 'PUT /v1/principals/al%20ice%2F%C3%A9/credentials/tools'])
  t.ok(seen.every(({ headers }) => headers.authorization === `Bearer ${token}`))
  t.same(JSON.parse(seen[1]?.body.toString() as string), GIVEN)
})

t.test('a sidecar on a Unix socket is one too', { skip: process.platform === 'win32' && 'no such sockets here' }, async (t) => {
  // A socket's path may have a hundred bytes, which those of the test runner's folders are longer than.
  const folder = mkdtempSync(join(tmpdir(), 'valet-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const socket = join(folder, 'admin.sock')
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host}`)
    response.end('{}')
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  t.teardown(async () => await new Promise((resolve) => { server.close(resolve); server.closeAllConnections() }))
  const keeper = await openKeeper(configOf(`{ listen: "unix:${socket}", token: { env: ADMIN } }`, { ADMIN: mintToken() }), systemClock, never)
  t.equal(keeper.where, `by the sidecar at unix:${socket}`)
  t.same(asked, ['GET /v1/principals localhost'])
})

t.test('what listens on all addresses is asked at the nearest one', async (t) => {
  const { origin, seen } = await startUpstream(t, answer(200, {}))
  const { port } = new URL(origin)
  const { admin } = configOf(`{ listen: "0.0.0.0:${port}", token: { env: ADMIN } }`, { ADMIN: mintToken() })
  t.match(await adminKeeper(admin, never), { where: `by the sidecar at http://127.0.0.1:${port}` })
  t.equal(seen[0]?.headers.host, `127.0.0.1:${port}`)
  const six = configOf('{ listen: "[::]:1", token: { env: ADMIN } }', { ADMIN: mintToken() })
  t.equal(await adminKeeper(six.admin, never), undefined, 'nobody is there')
})

t.test('where none runs the state is used, and memory is none', async (t) => {
  const gone = { ADMIN: mintToken() }
  await t.rejects(openKeeper(configOf('{ listen: "127.0.0.1:1", token: { env: ADMIN } }', gone), systemClock, never), { message: /no sidecar answers at admin\.listen; start `mcp-valet serve`/ })
  await t.rejects(openKeeper(configOf('{ listen: "127.0.0.1:0", token: { env: ADMIN } }', gone), systemClock, never), { message: /no sidecar answers/ }, 'its port is not known')
  await t.rejects(openKeeper(configOf('{ listen: "127.0.0.1:1" }'), systemClock, never), { message: /without admin\.token/ })
  const folder = join(t.testdir(), 'state')
  const config = configOf('{ listen: "127.0.0.1:1", token: { env: ADMIN } }', gone, `lmdb, path: "${folder}"`)
  const keeper = await openKeeper(config, systemClock, never)
  t.equal(keeper.where, `in the state (${folder})`)
  await t.rejects(keeper.save('alice', 'tools', { type: 'refresh_token', refresh_token: 'rt' }), { name: 'LoginError', message: /^the login could not be kept: .*; client_id: is required beside refresh_token$/ })
  await keeper.save('alice', 'tools', GIVEN)
  await keeper.close()
})

t.test('an admin token that cannot be read is told, and what it is is not', async (t) => {
  await t.rejects(openKeeper(configOf('{ listen: "127.0.0.1:1", token: { env: ADMIN } }'), systemClock, never), { name: 'LoginError', message: 'admin.token cannot be read: the environment variable ADMIN is not set' })
})

t.test('a sidecar that refuses is told, before anybody logs in', async (t) => {
  const cases: ReadonlyArray<[reply: Answer, message: RegExp]> = [
    [refusing(401, 'ERR_ADMIN_UNAUTHORIZED'), /does not take the admin token of this config: is it running with another one\?$/],
    [refusing(404, 'ERR_ADMIN_OFF'), /runs without an admin API/],
    [refusing(503, 'ERR_STATE_UNAVAILABLE', { details: [{ path: 'x', message: 'the disk\u0007 is full' }, null, {}] }), /did not take the login \(ERR_STATE_UNAVAILABLE\): Said \[2J so\. x: the disk is full : :$/],
    [answer(404, 'nothing here'), /answered HTTP 404 as no mcp-valet does: see what listens at admin\.listen/],
    [answer(500, { error: { code: 'EVIL \u001b[2J' } }), /answered HTTP 500 as no mcp-valet does/],
    [answer(401, 'null'), /answered HTTP 401 as no mcp-valet does/],
    [answer(302, {}, { location: 'http://127.0.0.1:1/' }), /answered HTTP 302 as no mcp-valet does/],
  ]
  for (const [reply, message] of cases) {
    const { config, token } = await startAdmin(t, reply)
    const error = await openKeeper(config, systemClock, never).catch((error: Error) => error) as Error
    t.match(error, { name: 'LoginError', message })
    t.notMatch(error.message, token)
  }
})

t.test('a sidecar that refuses the credential itself is told with its reasons', async (t) => {
  const put = refusing(400, 'ERR_REQUEST_INVALID', { message: 'Not so.', details: [{ path: 'client_id', message: 'is odd' }] })
  const { config } = await startAdmin(t, (seen, response, request) => (seen.method === 'PUT' ? put : answer(200, {}))(seen, response, request))
  const keeper = await openKeeper(config, systemClock, never)
  await t.rejects(keeper.save('alice', 'tools', GIVEN), { name: 'LoginError', message: /\(ERR_REQUEST_INVALID\): Not so\. client_id: is odd$/ })
})
