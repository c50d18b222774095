import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { openKeeper } from '../../../src/cli/login-keeper.js'
import { refresh } from '../../../src/cli/refresh.js'
import { createSession, listSessions, revokeSessions } from '../../../src/cli/session.js'
import { status } from '../../../src/cli/status.js'
import { systemClock } from '../../../src/clock.js'
import { loadConfigText } from '../../../src/config/load.js'
import { mintToken } from '../../helpers/mint.js'
import { screen } from '../../helpers/screen.js'

const PRINCIPAL = { id: 'alice', tools: null, source: 'api', upstreams: ['tools'] }
const SESSION = { id: 'ses_a', principal: 'alice', agent: 'planner', tools: null, expires_at: null }
const KEY = 'vk_' + 'a'.repeat(43)
const CREDENTIAL = { principal: 'alice', upstream: 'tools', type: 'api_token', state: 'valid', source: 'api', expires_at: null, refreshed_at: null, token: null, error: null }
const UPSTREAMS = { proxy: 'http://127.0.0.1:8401', header: 'x-session-key', upstreams: [{ name: 'tools', path: '/tools/mcp', url: 'http://127.0.0.1:1/mcp' }] }

/** What is on the admin port: of the paths, else the same to everything. */
async function answering (t: Test, code: number, body?: unknown, byPath: Readonly<Record<string, unknown>> = {}) {
  const listener: RequestListener = (request, response) => {
    const found = Object.entries(byPath).find(([path]) => request.url?.startsWith(`/v1${path}`))
    const said = found === undefined ? body : found[1]
    response.writeHead(code, { 'content-type': 'application/json' }).end(said === undefined ? '' : JSON.stringify(said))
  }
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return { config: '/nonexistent', adminUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, env: { MCP_VALET_ADMIN_TOKEN: mintToken() }, stop: new AbortController().signal }
}

type Options = Awaited<ReturnType<typeof answering>>
const VERBS = {
  create: async (options: Options, shown = screen()) => [await createSession({ ...options, principal: 'alice', agent: 'planner' }, shown), shown] as const,
  createJson: async (options: Options, shown = screen()) => [await createSession({ ...options, principal: 'alice', agent: 'planner', json: true }, shown), shown] as const,
  list: async (options: Options, shown = screen()) => [await listSessions(options, shown), shown] as const,
  revoke: async (options: Options, shown = screen()) => [await revokeSessions(['ses_a'], options, shown), shown] as const,
  refresh: async (options: Options, shown = screen()) => [await refresh('alice', 'tools', options, shown), shown] as const,
  status: async (options: Options, shown = screen()) => [await status(options, shown), shown] as const,
}

t.test('what says 200 to everything is told to be no admin API, and nothing to have been done', async (t) => {
  for (const [code, body] of [[200, {}], [200, { ok: true }], [200, { error: { code: 'ERR_X', message: 'x' } }], [201, { id: 1 }], [202, {}]] as const) {
    const options = await answering(t, code, body)
    for (const [verb, run] of Object.entries(VERBS)) {
      const [exit, shown] = await run(options)
      t.equal(exit, 1, `${verb} ${JSON.stringify(body)}`)
      t.equal(shown.stdout(), '')
      t.match(shown.stderr(), new RegExp(`^error: what answers at http://127\\.0\\.0\\.1:\\d+ is not the admin API of mcp-valet \\(HTTP ${code}\\)`))
    }
  }
})

t.test('so is what comes near it', async (t) => {
  const cases: ReadonlyArray<[verb: keyof typeof VERBS, code: number, body: unknown]> = [
    ['create', 204, undefined], ['create', 200, { ...SESSION, key: KEY }], ['create', 201, { ...SESSION, key: 'vk_short' }], ['create', 201, { ...SESSION, key: KEY, id: null }], ['createJson', 201, SESSION],
    ['list', 200, { sessions: [null] }], ['list', 200, { sessions: [{ id: 5 }] }], ['list', 204, undefined],
    ['revoke', 200, { ok: true }], ['revoke', 404, { error: { code: 'not_found', message: 'x' } }], ['revoke', 404, { error: { code: 'ERR_X' } }],
    ['refresh', 200, { hello: 1 }], ['refresh', 200, { ...CREDENTIAL, state: null }], ['refresh', 202, CREDENTIAL],
  ]
  for (const [verb, code, body] of cases) {
    const [exit, shown] = await VERBS[verb](await answering(t, code, body))
    t.match([exit, shown.stdout(), shown.stderr()], [1, '', /is not the admin API of mcp-valet/], `${verb} ${code} ${JSON.stringify(body)}`)
  }
  for (const upstreams of [[null], [5], ['x'], {}, 1, undefined, [{ name: 'tools' }]]) {
    const options = await answering(t, 200, {}, { '/upstreams': { ...UPSTREAMS, upstreams }, '/credentials': { credentials: [], next_cursor: null } })
    const [exit, shown] = await VERBS.status(options)
    t.match([exit, shown.stdout(), shown.stderr()], [1, '', /is not the admin API of mcp-valet/], JSON.stringify(upstreams))
  }
})

t.test('what answers as it should is believed', async (t) => {
  t.match(await VERBS.create(await answering(t, 201, { ...SESSION, key: KEY })), [0])
  t.match(await VERBS.list(await answering(t, 200, { sessions: [SESSION], next_cursor: null })), [0])
  t.match(await VERBS.revoke(await answering(t, 204)), [0])
  t.match(await VERBS.refresh(await answering(t, 200, CREDENTIAL)), [0])
  t.match(await VERBS.status(await answering(t, 200, {}, { '/upstreams': UPSTREAMS, '/credentials': { credentials: [CREDENTIAL], next_cursor: null } })), [0])
})

t.test('a login is given to no stranger', async (t) => {
  const open = async (options: Options) => await openKeeper(loadConfigText('upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }', { env: {} }), options, systemClock, () => {})
  for (const body of [{ ok: true }, {}, { principals: {} }, { principals: [null] }]) await t.rejects(open(await answering(t, 200, body)), { name: 'LoginError', message: /is not the admin API of mcp-valet/ })
  const strange = await open(await answering(t, 200, { ok: true }, { '/principals?': { principals: [], next_cursor: null } }))
  await t.rejects(strange.save('alice', 'tools', { refresh_token: 'x' }), { name: 'LoginError', message: /is not the admin API of mcp-valet/ })
  const good = await open(await answering(t, 200, PRINCIPAL, { '/principals?': { principals: [PRINCIPAL], next_cursor: null } }))
  await t.resolves(good.save('alice', 'tools', { refresh_token: 'x' }))
})
