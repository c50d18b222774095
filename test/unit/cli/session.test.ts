import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createSession, listSessions, revokeSessions } from '../../../src/cli/session.js'
import { startAdmin, type AdminSidecar } from '../../helpers/admin-api.js'
import { call } from '../../helpers/call.js'
import { freshToken } from '../../helpers/peers.js'
import { screen } from '../../helpers/screen.js'
import { startUpstream } from '../../helpers/upstream.js'

async function setUp (t: Test, yaml = '') {
  const upstream = await startUpstream(t)
  const admin = await startAdmin(t, `
upstreams:
  tools: { url: "${upstream.origin}/mcp" }
  crm: { url: "${upstream.origin}/crm" }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } }, bob: { credentials: {} } }
${yaml}`, { env: { ALICE: freshToken() } })
  return { ...admin, options: optionsOf(admin) }
}

const optionsOf = ({ sidecar, token }: AdminSidecar) => ({ config: '/nonexistent', adminUrl: sidecar.adminUrl, env: { MCP_VALET_ADMIN_TOKEN: token } })
const who = { principal: 'alice', agent: 'planner' }

t.test('create prints the key alone where a program reads it, and the rest beside it', async (t) => {
  const { sidecar, options } = await setUp(t)
  for (const [isTerminal, keyOnly] of [[false, undefined], [true, true]] as const) {
    const shown = screen({ isTerminal })
    t.equal(await createSession({ ...options, ...who, keyOnly, ttl: '2h', tools: ['a*', 'b'], deny: ['ab'] }, shown), 0)
    t.match(shown.stdout(), /^vk_[\w-]{43}\n$/)
    t.match(shown.stderr(), /^session ses_[\w-]+: planner calls for alice, until \d{4}-\d\d-\d\dT\S+Z\n$/)
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: shown.stdout().trim() })).status, 200)
  }
  t.match(sidecar.sessions.list(), [{ tools: { allow: ['a*', 'b'], deny: ['ab'] } }, {}])
})

t.test('create says on a terminal where the key goes', async (t) => {
  const { sidecar, options } = await setUp(t, 'callers: { header: X-Agent-Key }')
  const shown = screen({ isTerminal: true, colour: true })
  t.equal(await createSession({ ...options, ...who }, shown), 0)
  const key = /vk_[\w-]{43}/.exec(shown.stdout())?.[0]
  t.match(shown.stdout(), `${sidecar.proxyUrl}/tools/mcp\n`)
  t.notMatch(shown.stdout(), '/crm/mcp', 'where it has no credential it has no business')
  t.match(shown.stdout(), `x-agent-key: ${key}\n`)
  t.match(shown.stdout(), 'shown this once')
  t.notMatch(shown.stdout(), 'until')

  const bare = screen({ isTerminal: true })
  t.equal(await createSession({ ...options, principal: 'bob', agent: 'x' }, bare), 0)
  t.match(bare.stdout(), /^session ses_[\w-]+: x calls for bob\n\n {2}vk_[\w-]{43} {2}the session key: shown this once\n\n$/)
})

t.test('create --json is the API\'s answer', async (t) => {
  const { options } = await setUp(t)
  for (const isTerminal of [true, false]) {
    const shown = screen({ isTerminal })
    t.equal(await createSession({ ...options, ...who, json: true, deny: ['x'] }, shown), 0)
    t.match(JSON.parse(shown.stdout()), { id: /^ses_/, key: /^vk_/, principal: 'alice', agent: 'planner', tools: { allow: ['*'], deny: ['x'] }, expires_at: null })
    t.equal(shown.stderr(), '')
    t.equal(shown.stdout().split('\n').length > 2, isTerminal)
  }
})

t.test('create takes a number of seconds too, as its errors say', async (t) => {
  const { sidecar, options } = await setUp(t)
  const shown = screen()
  t.equal(await createSession({ ...options, ...who, ttl: '3600' }, shown), 0, shown.stderr())
  t.type(sidecar.sessions.list()[0]?.expiresAt, 'number')
  for (const ttl of ['0', '9999999999999', '9'.repeat(400), '-1', '1.5']) {
    const refused = screen()
    t.equal(await createSession({ ...options, ...who, ttl }, refused), 1, ttl)
    t.match(refused.stderr(), /ttl: expected a duration such as 15m, 2h or 30d, or a number of seconds/)
  }
})

t.test('create tells what is wrong, and ends with 1', async (t) => {
  const { options } = await setUp(t)
  for (const [more, message] of [
    [{ principal: 'mallory' }, /no such principal/], [{ ttl: '2x' }, /ttl: expected a duration/], [{ agent: ' x' }, /agent: the name of an agent/], [{ tools: ['x'.repeat(300)] }, /tools\.allow\[0\]: /],
  ] as const) {
    const shown = screen()
    t.equal(await createSession({ ...options, ...who, ...more }, shown), 1)
    t.match(shown.stderr(), message)
    t.match(shown.stderr(), /^error: /)
    t.equal(shown.stdout(), '')
  }
})

t.test('list is a table, or JSON', async (t) => {
  const { keyFor, options } = await setUp(t)
  const none = screen()
  t.equal(await listSessions(options, none), 0)
  t.same([none.stdout(), none.stderr()], ['', 'no sessions: open one with mcp-valet session create\n'])

  await keyFor('bob', { agent: 'zoe', tools: [] })
  await keyFor('alice', { agent: 'planner', tools: ['a', 'b*'], ttl: '2h' })
  await keyFor('alice', { agent: 'amy', tools: { deny: ['x'] } })
  await keyFor('alice', { agent: 'דוד \u4e2d' })
  const shown = screen({ isTerminal: true })
  t.equal(await listSessions(options, shown, Date.now()), 0)
  const lines = shown.stdout().split('\n')
  t.match(lines[0], /^SESSION +PRINCIPAL +AGENT +TOOLS +ENDS +FROM$/)
  t.match(lines[1], /^ses_[\w-]+ +alice +amy +all but x +api$/)
  t.match(lines[2], /^ses_[\w-]+ +alice +planner +a, b\* +in 2 h +api$/)
  t.match(lines[3], /^ses_[\w-]+ +alice +\u2068דוד 中\u2069 +all +api$/)
  t.match(lines[4], /^ses_[\w-]+ +bob +zoe +none +api$/)

  const past = screen({ isTerminal: true, colour: true })
  await listSessions(options, past, Date.now() + 10 * 3_600_000)
  t.match(past.stdout(), '\u001b[2m8 h ago\u001b[22m')

  const json = screen()
  t.equal(await listSessions({ ...options, json: true, principal: 'bob' }, json), 0)
  t.match(JSON.parse(json.stdout()), { sessions: [{ principal: 'bob', agent: 'zoe' }] })
  const indented = screen({ isTerminal: true })
  await listSessions({ ...options, json: true }, indented)
  t.match(indented.stdout(), '\n  "sessions"')
})

t.test('revoke ends what there is, and tells of what there is not', async (t) => {
  const { sidecar, keyFor, options } = await setUp(t)
  const [one, two] = [await keyFor('alice'), await keyFor('alice')]
  const shown = screen()
  t.equal(await revokeSessions([one.id, 'ses_none', two.id, '../principals'], options, shown), 1)
  t.equal(shown.stdout(), `${one.id} revoked\n${two.id} revoked\n`)
  t.match(shown.stderr(), /^error: ses_none: .*\n.*no such session.*\nerror: \.\.\/principals: /)
  t.same(sidecar.sessions.list(), [])
  t.equal(await revokeSessions([(await keyFor('alice')).id], options, screen()), 0)
})

t.test('revoke goes on after any refusal that is about one id alone', async (t) => {
  const { sidecar, keyFor, options } = await setUp(t)
  const [one, two] = [await keyFor('alice'), await keyFor('alice')]
  const long = 'x'.repeat(129)
  const shown = screen()
  t.equal(await revokeSessions([long, one.id, '', '..', two.id], options, shown), 1)
  t.equal(shown.stdout(), `${one.id} revoked\n${two.id} revoked\n`)
  t.match(shown.stderr(), /^error: x+…: .*\n {2}id: expected the id of a session, .*\nerror: : .*\n {2}id: expected the id of a session, .*\nerror: \.\.: .*no such thing here/)
  t.same(sidecar.sessions.list(), [])
})

t.test('revoke says which ids it has not come to', async (t) => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(request.url as string)
    if (asked.length === 1) response.writeHead(204).end()
    else request.socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  const shown = screen()
  t.equal(await revokeSessions(['a', 'b', 'c'], { config: '/nonexistent', adminUrl: `127.0.0.1:${(server.address() as AddressInfo).port}`, env: {} }, shown), 3)
  t.equal(shown.stdout(), 'a revoked\n')
  t.match(shown.stderr(), /^error: mcp-valet cannot be reached .*\nNot revoked: b, c\n$/)
  t.equal(asked.length, 2)
})

t.test('revoke stops where nothing more can be done', async (t) => {
  const { sidecar, keyFor, options } = await setUp(t)
  const { id } = await keyFor('alice')
  const shown = screen()
  t.equal(await revokeSessions([id, id], { ...options, env: {} }, shown), 1)
  t.equal(shown.stderr().match(/error:/g)?.length, 1)
  await sidecar.close()
  t.equal(await revokeSessions([id], options, screen()), 3)
})

t.test('a token that crosses a network as it is, is warned of', async (t) => {
  const shown = screen()
  t.equal(await listSessions({ config: '/nonexistent', adminUrl: 'http://nowhere.invalid:1', env: { MCP_VALET_ADMIN_TOKEN: freshToken() } }, shown), 3)
  t.match(shown.stderr(), /^warning: the admin token crosses the network unencrypted to http:\/\/nowhere\.invalid:1\nerror: /)
})

t.test('a fault is not taken for a failure', async (t) => {
  const { withSidecar } = await import('../../../src/cli/admin-verb.js')
  await t.rejects(withSidecar({ config: 'x', adminUrl: '127.0.0.1:1', env: {} }, screen(), async () => { throw new TypeError('a fault') }), { name: 'TypeError' })
})
