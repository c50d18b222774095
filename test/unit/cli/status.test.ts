import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { agentUrl, agentUrls } from '../../../src/cli/agent-urls.js'
import { AdminClient } from '../../../src/cli/admin-client.js'
import { findTarget } from '../../../src/cli/admin-target.js'
import { refresh } from '../../../src/cli/refresh.js'
import { status } from '../../../src/cli/status.js'
import { startAdmin, type AdminSidecar } from '../../helpers/admin-api.js'
import { eventually, freshToken } from '../../helpers/peers.js'
import { screen } from '../../helpers/screen.js'
import { startOpaqueIssuer } from '../../helpers/tokens.js'

const HARMFUL = ['\u001b', '\u202e']
const never = new AbortController().signal
const optionsOf = ({ sidecar, token }: AdminSidecar) => ({ config: '/nonexistent', adminUrl: sidecar.adminUrl, env: { MCP_VALET_ADMIN_TOKEN: token }, stop: never })

async function setUp (t: Test) {
  const answer: { instead: { status: number, body: object } | undefined } = { instead: undefined }
  const issuer = await startOpaqueIssuer(t, { instead: () => answer.instead, expiresIn: 300 })
  const admin = await startAdmin(t, `
upstreams:
  tools: { url: "http://127.0.0.1:1/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: app } }
  crm: { url: "http://127.0.0.1:1/crm", credential: { type: api_token } }
  open: { url: "http://127.0.0.1:1/open" }
`)
  await admin.ask('PUT', '/principals/alice', { credentials: { tools: { refresh_token: issuer.seed }, crm: { token: freshToken() } } })
  return { ...admin, issuer, answer, options: optionsOf(admin) }
}

/** Something else in the sidecar's place. */
async function impostor (t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('status shows upstreams and credentials, and ends with 0 while all is well', async (t) => {
  const { sidecar, options, issuer } = await setUp(t)
  const shown = screen({ isTerminal: true })
  t.equal(await status(options, shown), 0)
  const lines = shown.stdout().split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))
  t.same(lines.slice(0, 4), ['UPSTREAM | AGENTS CALL | CREDENTIALS', `tools | ${sidecar.proxyUrl}/tools/mcp | 1 valid`, `crm | ${sidecar.proxyUrl}/crm/mcp | 1 valid`, `open | ${sidecar.proxyUrl}/open/mcp | none`])
  t.equal(lines[5], 'PRINCIPAL | UPSTREAM | TYPE | STATE | EXPIRES | REFRESHED | TOKEN')
  t.match(lines[6], /^alice \| crm \| api_token \| valid \| .*[0-9a-f]{8}$/)
  t.match(lines[7], /^alice \| tools \| refresh_token \| valid \| in 5 min \| \d+ s ago \| [0-9a-f]{8}$/)
  t.notMatch(shown.stdout(), issuer.issued[0] as string)
  t.notMatch(shown.stdout(), '\u001b')
  t.match(await (async () => { const coloured = screen({ isTerminal: true, colour: true }); await status(options, coloured); return coloured.stdout() })(), '\u001b[32mvalid\u001b[39m')
})

t.test('status ends with 2 where somebody has to see to a credential, and shows that first', async (t) => {
  const { options, answer, ask } = await setUp(t)
  answer.instead = { status: 400, body: { error: 'invalid_grant' } }
  await ask('PUT', '/principals/bob', { credentials: { tools: { refresh_token: freshToken() } } })
  answer.instead = { status: 500, body: {} }
  await ask('PUT', '/principals/carol', { credentials: { tools: { refresh_token: freshToken() } } })
  const shown = screen({ isTerminal: true })
  t.equal(await status(options, shown), 2)
  t.match(shown.stdout(), /tools +\S+ +1 valid, 1 failed, 1 revoked\n/)
  t.match(shown.stdout(), /LAST ERROR\nbob +tools +refresh_token +revoked +.*invalid_grant.*\ncarol +tools +refresh_token +failed +.*HTTP 500.*\nalice/)
  t.match(shown.stdout(), /2 of 4 credentials failed or revoked: LAST ERROR says why\. A revoked one needs a new login/)
  const json = screen()
  t.equal(await status({ ...options, json: true }, json), 2)
  const { proxy, upstreams, credentials } = JSON.parse(json.stdout())
  t.match({ proxy, upstreams, credentials }, { proxy: /^http/, upstreams: [{ name: 'tools', path: '/tools/mcp' }, {}, {}], credentials: Array(4).fill({ principal: /\w/, state: /\w/ }) })
})

t.test('a credential whose first renewal is under way has not failed yet, and says so', async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { silent.closeAllConnections(); silent.close() })
  const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}/token`
  const admin = await startAdmin(t, `
upstreams: { tools: { url: "http://127.0.0.1:1/mcp", credential: { type: refresh_token, token_endpoint: "${endpoint}", client_id: app } } }
principals: { alice: { credentials: { tools: { refresh_token: { env: ALICE } } } } }
`, { env: { ALICE: freshToken() } })
  const shown = screen({ isTerminal: true })
  t.equal(await status(optionsOf(admin), shown), 0)
  t.match(shown.stdout(), /\nalice +tools +refresh_token +failed +none yet: its first renewal is under way\n$/)
  const json = screen()
  t.equal(await status({ ...optionsOf(admin), json: true }, json), 0)
  t.match(JSON.parse(json.stdout()).credentials, [{ state: 'failed', error: null }], 'the states of the API are as they are')
  silent.closeAllConnections()
})

t.test('status of a sidecar without credentials', async (t) => {
  const admin = await startAdmin(t, 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }')
  const shown = screen()
  t.equal(await status(optionsOf(admin), shown), 0)
  t.match(shown.stdout(), /^UPSTREAM.*\ntools .*none\n$/)
})

t.test('status --watch looks again until it is stopped, through a restart too', async (t) => {
  const { sidecar, options, ask } = await setUp(t)
  const stop = new AbortController()
  const shown = screen({ isTerminal: true })
  const ended = status({ ...options, watch: true, stop: stop.signal, interval: 20 }, shown)
  await eventually(() => shown.stdout().split('UPSTREAM ').length > 3)
  t.match(shown.stdout(), '\u001b[H\u001b[2J')
  await ask('DELETE', '/principals/alice')
  await eventually(() => /tools +\S+ +none/.test(shown.stdout()))
  await sidecar.close()
  await eventually(() => shown.stderr().includes('cannot be reached'))
  stop.abort()
  t.equal(await ended, 3, 'as the last look was')
})

t.test('status --watch --json is a line a look, and ends as the last one was', async (t) => {
  const { options } = await setUp(t)
  const stop = new AbortController()
  const shown = screen()
  const ended = status({ ...options, watch: true, json: true, stop: stop.signal, interval: 10 }, shown)
  await eventually(() => shown.stdout().split('\n').length > 3)
  stop.abort()
  t.equal(await ended, 0)
  for (const line of shown.stdout().trim().split('\n')) t.equal(JSON.parse(line).credentials.length, 2)
  const error = screen()
  t.equal(await status({ ...options, env: {}, watch: true }, error), 1, 'a wrong token does not mend itself')
})

t.test('names that could harm a terminal are shown escaped', async (t) => {
  const evil = '\u001b[2Jx\u202e'
  const url = await impostor(t, (_request, response) => {
    response.end(JSON.stringify({
      proxy: evil,
      header: evil,
      upstreams: [{ name: evil, path: evil }],
      credentials: [{ principal: evil.repeat(1_000), upstream: evil, type: evil, state: evil, token: evil, error: evil, expires_at: evil, refreshed_at: 5 }],
    }))
  })
  const shown = screen({ isTerminal: true })
  t.equal(await status({ config: '/nonexistent', adminUrl: url, env: {}, stop: never }, shown), 0)
  t.notOk(HARMFUL.some((character) => shown.stdout().includes(character)))
  t.ok(shown.stdout().split('\n').every((line) => line.length < 2_000))
  const json = screen()
  await status({ config: '/nonexistent', adminUrl: url, env: {}, stop: never, json: true }, json)
  t.notOk(HARMFUL.some((character) => json.stdout().includes(character)))
})

t.test('refresh renews, and tells how it went', async (t) => {
  const { options, answer, issuer } = await setUp(t)
  const before = issuer.requests.length
  const shown = screen()
  t.equal(await refresh('alice', 'tools', options, shown), 0)
  t.match(shown.stdout(), /^alice at tools: valid, token [0-9a-f]{8}, expires in 5 min\n$/)
  t.equal(issuer.requests.length, before + 1)
  const json = screen({ isTerminal: true })
  t.equal(await refresh('alice', 'tools', { ...options, json: true }, json), 0)
  t.match(JSON.parse(json.stdout()), { principal: 'alice', upstream: 'tools', state: 'valid' })
  answer.instead = { status: 503, body: {} }
  const failed = screen()
  t.equal(await refresh('alice', 'tools', options, failed), 1)
  t.match(failed.stderr(), /could not be renewed.*\n {2}.*HTTP 503/)
  const unknown = screen()
  t.equal(await refresh('alice', 'none', options, unknown), 1)
  t.match(unknown.stderr(), /no credential for this upstream/)
})

t.test('refresh of a token without an end does not make one up', async (t) => {
  const { options } = await setUp(t)
  const shown = screen()
  t.equal(await refresh('alice', 'crm', options, shown), 0)
  t.match(shown.stdout(), /^alice at crm: valid, token [0-9a-f]{8}\n$/)
})

t.test('where agents call is told in a way that works from here', async (t) => {
  t.equal(agentUrl('http://0.0.0.0:8401', '/tools/mcp', 'valet.internal'), 'http://valet.internal:8401/tools/mcp')
  t.equal(agentUrl('http://[::]:8401', '/a', '[::1]'), 'http://[::1]:8401/a')
  t.equal(agentUrl('http://127.0.0.1:8401', '/a', 'x'), 'http://127.0.0.1:8401/a')
  t.equal(agentUrl('unix:/run/valet.sock', '/a', 'x'), 'http://localhost/a  (socket /run/valet.sock)')
})

t.test('a sidecar that does not say where agents call keeps no key back', async (t) => {
  const client = async (answer: RequestListener) => new AdminClient(await findTarget({ config: '/nonexistent', adminUrl: await impostor(t, answer), env: {} }))
  t.same(await agentUrls(await client((_request, response) => { response.writeHead(404).end('{}') }), 'alice'), { header: '', urls: [] })
  t.same(await agentUrls(await client((_request, response) => { response.end('{"credentials": [], "upstreams": 1}') }), 'alice'), { header: '', urls: [] })
})

t.test('a fault is not taken for silence', async (t) => {
  const target = await findTarget({ config: '/nonexistent', adminUrl: '127.0.0.1:1', env: {} })
  const client = new AdminClient({ ...target, token: { source: 'here', read: async () => { throw new TypeError('a fault') } } })
  await t.rejects(agentUrls(client, 'alice'), { name: 'TypeError' })
})
