import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { loadConfigText } from '../../src/config/load.js'
import { runPart, type PartName } from '../../src/demo/part.js'
import { whatFailed } from '../../src/demo/steady-agent.js'
import { createSidecar } from '../../src/sidecar.js'
import type { ValetEvent } from '../../src/telemetry/events.js'
import { runCli, startCli } from '../helpers/cli.js'
import { Watch } from '../helpers/watch.js'

type Line = Record<string, unknown> & { event: string }

/** Starts a part in this process; `end` stops it and gives its exit code. */
function start (t: Test, name: PartName, env: Record<string, string>) {
  const stop = new AbortController()
  const lines: Line[] = []
  const watch = new Watch<Line>()
  const write = (text: string): void => {
    const line = JSON.parse(text) as Line
    lines.push(line)
    watch.tell(line)
  }
  const exit = runPart(name, { env, signal: stop.signal, write })
  const end = async (): Promise<number> => { stop.abort(); return await exit }
  t.teardown(end)
  return { lines, exit, end, line: async (fits: (line: Line) => boolean) => await watch.until(fits, lines) }
}

async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const isListening = ({ event }: Line): boolean => event === 'listening'

async function stage (t: Test, lifetime = '6s') {
  const folder = t.testdir()
  const [issuerPort, serverPort] = [await freePort(), await freePort()]
  const places = { DEMO_FOLDER: folder, DEMO_ISSUER: `http://127.0.0.1:${issuerPort}`, DEMO_SERVER: `http://127.0.0.1:${serverPort}/mcp`, DEMO_LIFETIME: lifetime }
  t.equal(await start(t, 'secrets', { DEMO_FOLDER: folder }).exit, 0)
  const issuer = start(t, 'issuer', { ...places, DEMO_LISTEN: `127.0.0.1:${issuerPort}` })
  const server = start(t, 'server', { ...places, DEMO_LISTEN: `127.0.0.1:${serverPort}` })
  await Promise.all([issuer.line(isListening), server.line(isListening)])
  return { folder, places, issuer, server }
}

/** The config of docker-compose.yml, with this machine's places for those of the stack. */
function configOf (folder: string, { DEMO_ISSUER, DEMO_SERVER }: { DEMO_ISSUER: string, DEMO_SERVER: string }): string {
  const text = readFileSync(new URL('../../config/compose/valet.yaml', import.meta.url), 'utf8')
    .replaceAll('/run/secrets', join(folder, 'valet')).replaceAll('http://issuer:9400', DEMO_ISSUER).replaceAll('http://mcp-server:8001/mcp', DEMO_SERVER)
  return stringify({ ...parse(text), listen: '127.0.0.1:0', admin: { listen: '127.0.0.1:0' }, state: { driver: 'memory' } })
}

t.test('row 56: the parts of the stack, under its own config, do what the demo does: agents call over many tokens, and nobody is refused', async (t) => {
  const { folder, places, issuer, server } = await stage(t)
  const events: ValetEvent[] = []
  const sidecar = await createSidecar(loadConfigText(configOf(folder, places), { env: {} }), { onEvent: (event) => events.push(event) })
  t.teardown(sidecar.close)
  const heartbeat = join(folder, 'beat')
  const agent = (name: string) => start(t, 'agent', { DEMO_URL: `${sidecar.proxyUrl}/demo/mcp`, DEMO_KEY_FILE: join(folder, name, 'session_key'), DEMO_EVERY: '50ms', DEMO_HEARTBEAT: heartbeat })
  const agents = [agent('planner'), agent('nightly')]
  // The rotating token, too, is renewed more than once.
  while (events.filter(({ event }) => event === 'refresh').length < 6) await new Promise((resolve) => setTimeout(resolve, 100))
  for (const { lines, end } of agents) {
    t.equal(await end(), 0)
    const [last] = lines.slice(-1)
    t.match(last, { event: 'calls', failed: 0 })
    t.ok(Number(last?.ok) > 20 && Number(last?.tokens) > 1, JSON.stringify(last))
    t.notOk(lines.some(({ event }) => event === 'call_failed'))
  }
  t.match(readFileSync(heartbeat, 'utf8'), /^\d+\n$/)
  t.same(events.filter(({ event }) => ['failed', 'denied', 'rejected'].includes(event)), [])
  t.same([await issuer.end(), await server.end()], [0, 0])
  t.same([issuer.lines, server.lines].map((lines) => lines.map(({ event }) => event)), [['listening', 'stopped'], ['listening', 'stopped']])
})

t.test('an agent tells of each failure with the code of the sidecar, and goes on when it is over', async (t) => {
  const { folder, places, issuer } = await stage(t, '10m')
  const secret = join(folder, 'valet', 'agents_client_secret')
  const good = readFileSync(secret, 'utf8')
  const spoilt = loadConfigText(configOf(folder, places).replaceAll(secret, join(folder, 'other')), { env: {} })
  const heartbeat = join(folder, 'beat')
  writeFileSync(join(folder, 'other'), 'wrong', { mode: 0o600 })
  const sidecar = await createSidecar(spoilt)
  t.teardown(sidecar.close)
  const agent = start(t, 'agent', { DEMO_URL: `${sidecar.proxyUrl}/demo/mcp`, DEMO_KEY_FILE: join(folder, 'planner', 'session_key'), DEMO_EVERY: '10ms', DEMO_HEARTBEAT: heartbeat })
  t.match(await agent.line(({ event }) => event === 'call_failed'), { code: 'ERR_CREDENTIAL_UNAVAILABLE' })
  t.match(await issuer.line(({ event }) => event === 'token_refused'), { status: 401, error: 'invalid_client' })
  writeFileSync(join(folder, 'other'), good)
  while (!existsSync(heartbeat)) await new Promise((resolve) => setTimeout(resolve, 100))
  await agent.end()
  t.ok(Number(agent.lines.at(-1)?.ok) > 0, 'it has called since')
})

t.test('whoever shows no token is refused by the server, which says so', async (t) => {
  const { places, server } = await stage(t)
  t.equal((await fetch(places.DEMO_SERVER, { method: 'POST' })).status, 401)
  t.match(await server.line(({ event }) => event === 'refused'), { status: 401, reason: 'exactly one Bearer token is required' })
})

t.test('secrets are made once, closed to others, and each agent\'s key is the one that the sidecar has', async (t) => {
  const folder = t.testdir()
  const first = start(t, 'secrets', { DEMO_FOLDER: folder })
  t.equal(await first.exit, 0)
  const contents = () => Object.fromEntries(readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile()).map((name) => [name, readFileSync(join(folder, name), 'utf8')]))
  const made = contents()
  t.match(first.lines, [{ event: 'secrets', made: Object.keys(made).length }])
  for (const name of Object.keys(made)) t.equal(statSync(join(folder, name)).mode & 0o777, name.startsWith('redis/') ? 0o444 : 0o400, name)
  for (const agent of ['planner', 'nightly', 'scout']) t.equal(made[`${agent}/session_key`], made[`valet/${agent}_key`])
  t.match(made['valet/redis_url'], made['redis/redis.conf']?.split(' ')[1]?.trim())
  t.equal(new Set(Object.values(made)).size, Object.keys(made).length - 3, 'no two are alike but those')

  t.match(await start(t, 'secrets', { DEMO_FOLDER: folder }).line(() => true), { made: 0 })
  t.same(contents(), made)
  t.notMatch(JSON.stringify(first.lines), made['valet/admin_token'])
})

t.test('a setting that is missing or wrong is named', async (t) => {
  const folder = t.testdir()
  await start(t, 'secrets', { DEMO_FOLDER: folder }).exit
  const good = { DEMO_FOLDER: folder, DEMO_LISTEN: '127.0.0.1:0', DEMO_ISSUER: 'http://127.0.0.1:1', DEMO_SERVER: 'http://127.0.0.1:2/mcp', DEMO_LIFETIME: '15s' }
  for (const [name, value, reason] of [['DEMO_LISTEN', '', /DEMO_LISTEN is not set: docker-compose.yml/], ['DEMO_LISTEN', 'x', /DEMO_LISTEN: expected host:port/], ['DEMO_LISTEN', 'unix:/x', /DEMO_LISTEN: expected host:port/], ['DEMO_LIFETIME', '15', /DEMO_LIFETIME: expected a duration/], ['DEMO_FOLDER', `${folder}/none`, /ENOENT/]] as const) {
    const part = start(t, 'issuer', { ...good, [name]: value })
    t.equal(await part.exit, 1)
    t.match(part.lines, [{ event: 'failed', reason }])
  }
})

t.test('what failed is told by the sidecar\'s code, the system\'s, or the error\'s name', async (t) => {
  t.same(whatFailed(new Error('HTTP 503: {"data":{"code":"ERR_CREDENTIAL_UNAVAILABLE"}}')), { code: 'ERR_CREDENTIAL_UNAVAILABLE' })
  t.same(whatFailed(Object.assign(new Error('x'), { data: { code: 'ERR_SESSION_UNKNOWN' } })), { code: 'ERR_SESSION_UNKNOWN' })
  t.same(whatFailed(new TypeError('fetch failed', { cause: { code: 'ECONNREFUSED' } })), { code: 'ECONNREFUSED', reason: 'fetch failed' })
  t.same(whatFailed(new RangeError('r'.repeat(999))), { code: 'RangeError', reason: 'r'.repeat(300) })
})

t.test('the command runs a part, ends with 0 on SIGTERM, and knows no other part', async (t) => {
  const folder = t.testdir()
  t.match(await runCli(t, ['demo', 'secrets'], { env: { DEMO_FOLDER: folder } }), { code: 0, stderr: '' })
  const issuer = startCli(t, ['demo', 'issuer'], { env: { DEMO_FOLDER: folder, DEMO_LISTEN: '127.0.0.1:0', DEMO_ISSUER: 'http://issuer', DEMO_SERVER: 'http://server/mcp', DEMO_LIFETIME: '15s' } })
  await issuer.line((line) => line.includes('listening'))
  issuer.child.kill('SIGTERM')
  t.match(await issuer.ended, { code: 0, signal: null, stderr: '' })
  t.match(await runCli(t, ['demo', 'nothing']), { code: 1, stderr: /secrets, issuer, server, agent/ })
})
