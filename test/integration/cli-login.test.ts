import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connectAgent } from '../../src/demo/agent.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import { Browser } from '../helpers/browser.js'
import { call } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { startCli, type CliOptions, type CliProcess } from '../helpers/cli.js'
import { callbackOf } from '../helpers/login.js'
import { startLoginPeer } from '../helpers/login-peer.js'
import { startLoginServer, type LoginServer } from '../helpers/login-server.js'
import { eventually } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'

interface Stage { readonly server: LoginServer, readonly upstream: string, readonly config: string, readonly yaml: string, readonly state: string, readonly folder: string }

/** A real authorization server, a real MCP server that takes its tokens, and a config file with a state of its own. */
async function startStage (t: Test): Promise<Stage> {
  let upstream = ''
  const server = await startLoginServer(t, { resource: () => upstream })
  const mcp = await createDemoMcpServer({ issuer: server.issuer, jwks: server.jwksUri })
  t.teardown(async () => await mcp.close())
  upstream = mcp.url
  return { server, upstream, ...configFor(t, upstream) }
}

function configFor (t: Test, url: string): { folder: string, config: string, yaml: string, state: string } {
  const folder = t.testdir()
  const [config, state] = [join(folder, 'valet.yaml'), join(folder, 'state')]
  const yaml = `state: { driver: lmdb, path: "${state}" }\nupstreams: { tools: { url: "${url}" } }\n`
  writeFileSync(config, yaml)
  return { folder, config, yaml, state }
}

function startLogin (t: Test, config: string, args: readonly string[] = [], options: CliOptions = {}): CliProcess {
  return startCli(t, ['login', '--principal', 'alice', '--upstream', 'tools', '-c', config, '--no-browser', ...args], options)
}

/** The login page, as it was printed. */
async function printed (cli: CliProcess): Promise<URL> {
  const shown = (): string | undefined => /^ {2}(http:\S+)$/m.exec(cli.output().stderr)?.[1]
  let over = false
  void cli.ended.then(() => { over = true })
  await eventually(() => shown() !== undefined || over, 'the address of the login page')
  return new URL(shown() as string)
}

t.test('from a login to an agent that calls a tool', async (t) => {
  const { server, upstream, config, yaml, state } = await startStage(t)
  const cli = startLogin(t, config, ['--yes', '--json'])
  const page = await new Browser().visit(await printed(cli))
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0, stderr)
  t.match(page.html, '<h1>Logged in</h1>')
  t.match(JSON.parse(stdout), {
    logged_in: true,
    principal: 'alice',
    upstream: 'tools',
    issuer: server.issuer,
    client_id: String,
    client_from: 'registration',
    scope: 'offline_access',
    resource: upstream,
    expires_at: /^20.*Z$/,
    refresh_token: true,
    kept: `in the state (${state})`,
  })

  const sidecar = await startSidecar(t, yaml)
  t.match(sidecar.principals.list(), [{ id: 'alice', source: 'api', upstreams: ['tools'] }])
  const agent = await connectAgent(`${sidecar.proxyUrl}/tools/mcp`, await sidecar.keyFor('alice'))
  t.teardown(async () => await agent.close())
  const tokens = [await agent.whoami()]
  for (let rotation = 0; rotation < 2; rotation++) {
    await sidecar.credentials.refresh('alice', 'tools')
    tokens.push(await agent.whoami())
  }
  t.ok(tokens.every(({ subject }) => subject === 'alice'))
  t.equal(new Set(tokens.map(({ fingerprint }) => fingerprint)).size, 3, 'the first token, and one of each rotation')

  const canaries = new Canaries()
  for (const { body } of server.requests.filter(({ path }) => path === '/token')) {
    const form = new URLSearchParams(body)
    for (const name of ['code', 'code_verifier', 'refresh_token']) if (form.has(name)) canaries.add(name, form.get(name) as string)
  }
  t.ok(canaries.size > 0)
  t.same(canaries.findIn(stdout + stderr + page.html), [])
})

t.test('a person reads what came of it, and what is next', async (t) => {
  const { server, config, state } = await startStage(t)
  const cli = startLogin(t, config, ['--yes'])
  await new Browser().visit(await printed(cli))
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0, stderr)
  t.match(stdout, `may now be used at upstream tools; its token expires in 10 min; the refresh token is kept sealed in the state (${state}).\n`)
  t.match(stdout, 'mcp-valet session create --principal alice --agent NAME\n')
  t.match(stderr, `says that its tokens come from ${server.issuer}.`)
  t.match(stderr, /^Issuer {4}http.*\nClient {4}\S+ \(registered just now\)\nScope {5}offline_access\nResource {2}http.*\/mcp$/m)
  t.match(stderr, 'Waiting for up to 5m; Ctrl-C cancels.')
})

t.test('an access token alone is kept with a warning', async (t) => {
  const peer = await startLoginPeer(t, (_origin, { access }) => ({ '/token': { access_token: access, token_type: 'Bearer' } }))
  const { config, yaml } = configFor(t, peer.mcp)
  const cli = startLogin(t, config, ['--yes'])
  await fetch(callbackOf(await printed(cli), { code: peer.tokens.code, iss: peer.origin }))
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0, stderr)
  t.match(stderr, 'warning: the issuer gave no refresh token.')
  t.match(stdout, /when its token expires the issuer does not say; it is kept sealed .*, without a refresh token\./)
  const sidecar = await startSidecar(t, yaml)
  t.match(sidecar.credentials.list(), [{ principal: 'alice', upstream: 'tools', type: 'refresh_token', source: 'api' }])
  await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  t.equal(peer.at('/mcp').at(-1)?.headers.authorization, `Bearer ${peer.tokens.access}`)
})

t.test('a login in place of what the config has is told', async (t) => {
  const peer = await startLoginPeer(t)
  const { config, yaml } = configFor(t, peer.mcp)
  writeFileSync(config, `${yaml}principals: { "al ice's": { credentials: { tools: { type: api_token, token: { env: T } } } } }\n`)
  const cli = startCli(t, ['login', '--principal', 'al ice\'s', '--upstream', 'tools', '-c', config, '--no-browser', '--yes'])
  await fetch(callbackOf(await printed(cli), { code: peer.tokens.code, iss: peer.origin }))
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0, stderr)
  t.match(stderr, 'Note: from then on this login counts for al ice\'s at tools, and not the api_token of the config.')
  t.match(stdout, '--principal \'al ice\'\\\'\'s\' --agent NAME', 'as a shell takes it')
})

t.test('without a terminal and without --yes nobody is asked, and the issuer hears nothing', async (t) => {
  const { server, config } = await startStage(t)
  const { code, stdout, stderr } = await startLogin(t, config, ['--json']).ended
  t.match({ code, stdout }, { code: 1, stdout: '' })
  t.match(stderr, `says that its tokens come from ${server.issuer}.\nerror: there is no terminal to ask at: look at the address above, and pass --yes`)
  t.same(server.requests, [])
})

t.test('Ctrl-C ends it, and nothing is kept', async (t) => {
  const { config, yaml } = await startStage(t)
  const cli = startLogin(t, config, ['--yes'])
  await printed(cli)
  cli.child.kill('SIGINT')
  const { code, signal, stderr } = await cli.ended
  t.match({ code, signal }, { code: 1, signal: null })
  t.match(stderr, /error: cancelled: nobody was logged in, and nothing was stored\n$/)
  t.same((await startSidecar(t, yaml)).principals.list(), [])
})

t.test('nobody comes within --timeout', async (t) => {
  const { config } = await startStage(t)
  const { code, stderr } = await startLogin(t, config, ['--yes', '--timeout', '100ms']).ended
  t.equal(code, 1)
  t.match(stderr, /error: nobody finished the login in time: run it again, with a longer --timeout/)
})

t.test('over SSH it says how the browser finds the way back, and opens none here', async (t) => {
  const { config, folder } = await startStage(t)
  const opened = join(folder, 'opened')
  const cli = startCli(t, ['login', '--principal', 'alice', '--upstream', 'tools', '-c', config, '--yes'], {
    env: { SSH_CONNECTION: '198.51.100.7 50000 203.0.113.9 2222', BROWSER: opener(folder, opened) },
  })
  const port = new URL((await printed(cli)).searchParams.get('redirect_uri') as string).port
  await eventually(() => cli.output().stderr.includes('Ctrl-C'))
  t.match(cli.output().stderr, `ssh -L ${port}:127.0.0.1:${port} -p 2222 203.0.113.9\n`)
  cli.child.kill('SIGINT')
  await cli.ended
  t.notOk(existsSync(opened))
})

t.test('the login page is opened in the browser', { skip: process.platform === 'linux' ? false : 'another system finds its browser otherwise' }, async (t) => {
  const { config, folder } = await startStage(t)
  const opened = join(folder, 'opened')
  const cli = startCli(t, ['login', '--principal', 'alice', '--upstream', 'tools', '-c', config, '--yes'], { env: { BROWSER: opener(folder, opened) } })
  const address = await printed(cli)
  await eventually(() => existsSync(opened))
  t.equal(readFileSync(opened, 'utf8'), address.href)
  cli.child.kill('SIGINT')
  await cli.ended
})

/** A browser that writes down what it was given. */
function opener (folder: string, file: string): string {
  const path = join(folder, 'browser')
  writeFileSync(path, `#!/bin/sh\nprintf %s "$1" > '${file}.part'\nmv '${file}.part' '${file}'\n`)
  chmodSync(path, 0o700)
  return path
}

t.test('what cannot begin is told before anybody is asked to log in', async (t) => {
  const peer = await startLoginPeer(t)
  const { config, yaml, folder } = configFor(t, peer.mcp)
  const memory = join(folder, 'memory.yaml')
  writeFileSync(memory, yaml.replace(/^state:.*$/m, 'state: { driver: memory }'))
  const cases: ReadonlyArray<[what: string, file: string, args: readonly string[], message: RegExp]> = [
    ['no state', memory, [], /nowhere to keep a login: state\.driver is memory, and without admin\.token/],
    ['a wait that is none', config, ['--timeout', '5'], /--timeout: expected a duration/],
    ['a port that is none', config, ['--redirect-port', '70000'], /--redirect-port: expected a port from 1 to 65535/],
    ['a scope that is none', config, ['--scope', 'a  b'], /--scope: expected scopes/],
    ['no such upstream', config, ['--upstream', 'tols'], /no upstream of that name: it has tools/],
    ['no such config', '/nonexistent.yaml', [], /the config cannot be used:\n\/nonexistent\.yaml there is no such file/],
  ]
  await Promise.all(cases.map(async ([what, file, args, message]) => {
    const { code, stdout, stderr } = await startLogin(t, file, ['--yes', ...args]).ended
    t.match({ code, stdout, stderr }, { code: 1, stdout: '', stderr: message }, what)
  }))
  t.same(peer.seen, [])
})

t.test('a state that cannot be used is told', async (t) => {
  const peer = await startLoginPeer(t)
  const { config, state } = configFor(t, peer.mcp)
  const first = startLogin(t, config, ['--yes'])
  await fetch(callbackOf(await printed(first), { code: peer.tokens.code, iss: peer.origin }))
  await first.ended
  chmodSync(join(state, 'state.key'), 0o604)
  t.match(await startLogin(t, config, ['--yes']).ended, { code: 1, stderr: /is open to every user of this machine: chmod o-rwx it/ })
})

t.test('a token that could not be kept is told with the reason', async (t) => {
  const peer = await startLoginPeer(t, (_origin, { access }) => ({ '/token': { access_token: access, token_type: 'Bearer', refresh_token: 'with\u00e9' } }))
  const { config } = configFor(t, peer.mcp)
  const cli = startLogin(t, config, ['--yes'])
  await fetch(callbackOf(await printed(cli), { code: peer.tokens.code, iss: peer.origin }))
  t.match(await cli.ended, { code: 1, stdout: '', stderr: /gave no usable refresh token/ })
})

t.test('the verb has help of its own', async (t) => {
  const { code, stdout } = await startCli(t, ['login', '--help']).ended
  t.equal(code, 0)
  for (const option of ['--principal', '--upstream', '--issuer', '--client-id', '--scope', '--redirect-port', '--no-browser', '--timeout', '--yes', '--json']) t.match(stdout, option)
  t.match(await startCli(t, ['login', '--principal', 'alice']).ended, { code: 1, stderr: /required option '--upstream <name>'/ })
})
