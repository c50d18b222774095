import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectAgent } from '../../src/demo/agent.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import { Browser } from '../helpers/browser.js'
import { Canaries } from '../helpers/canary.js'
import { startCli, type CliOptions, type CliProcess } from '../helpers/cli.js'
import { startLoginServer, type LoginServer } from '../helpers/login-server.js'
import { mintToken } from '../helpers/mint.js'
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
  const folder = t.testdir()
  const [config, state] = [join(folder, 'valet.yaml'), join(folder, 'state')]
  const yaml = `state: { driver: lmdb, path: "${state}" }\nupstreams: { tools: { url: "${upstream}" } }\n`
  writeFileSync(config, yaml)
  return { server, upstream, folder, config, yaml, state }
}

function startLogin (t: Test, config: string, args: readonly string[] = [], options: CliOptions = {}): CliProcess {
  return startCli(t, ['login', '--principal', 'alice', '--upstream', 'tools', '-c', config, '--no-browser', ...args], options)
}

/** The login page, as it was printed. A process may take its time to start. */
async function printed (cli: CliProcess): Promise<URL> {
  const shown = (): string | undefined => /^ {2}(http:\S+)$/m.exec(cli.output().stderr)?.[1]
  const isOver = (): boolean => cli.child.exitCode !== null || cli.child.signalCode !== null
  while (shown() === undefined && !isOver()) await sleep(10)
  if (isOver()) throw new Error(`it ended: ${cli.output().stderr}`)
  return new URL(shown() as string)
}

t.test('from a login, into the state that a sidecar shares, to an agent that calls a tool', async (t) => {
  const { server, upstream, config, yaml, state } = await startStage(t)
  const sidecar = await startSidecar(t, yaml)
  const cli = startLogin(t, config, ['--yes', '--json'])
  const page = await new Browser().visit(await printed(cli))
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0, stderr)
  t.match(page.html, '<h1>Logged in</h1>')
  t.match(JSON.parse(stdout), {
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

  await eventually(() => sidecar.principals.list().length > 0, 'the principal')
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

t.test('a sidecar that runs uses a login, and each later one, from the next call on', async (t) => {
  const { upstream, folder } = await startStage(t)
  const env = { ADMIN: mintToken('admin') }
  const upstreams = `upstreams: { tools: { url: "${upstream}" } }\n`
  const sidecar = await startSidecar(t, `listen: 127.0.0.1:0\nadmin: { listen: "127.0.0.1:0", token: { env: ADMIN } }\n${upstreams}`, { env })
  const config = join(folder, 'running.yaml')
  writeFileSync(config, `admin: { listen: "${new URL(sidecar.adminUrl).host}", token: { env: ADMIN } }\nstate: { driver: memory }\n${upstreams}`)
  const logIn = async (): Promise<void> => {
    const cli = startLogin(t, config, ['--yes'], { env })
    await new Browser().visit(await printed(cli))
    t.match(await cli.ended, { code: 0, stdout: `the refresh token is kept sealed by the sidecar at ${sidecar.adminUrl}.` })
  }
  await logIn()
  const agent = await connectAgent(`${sidecar.proxyUrl}/tools/mcp`, await sidecar.keyFor('alice'))
  t.teardown(async () => await agent.close())
  const first = await agent.whoami()
  await logIn()
  const second = await agent.whoami()
  t.same([first.subject, second.subject], ['alice', 'alice'])
  t.not(first.fingerprint, second.fingerprint)
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

t.test('the verb has help of its own', async (t) => {
  const { code, stdout } = await startCli(t, ['login', '--help']).ended
  t.equal(code, 0)
  for (const option of ['--principal', '--upstream', '--issuer', '--client-id', '--scope', '--redirect-port', '--no-browser', '--timeout', '--yes', '--json']) t.match(stdout, option)
  t.match(await startCli(t, ['login', '--principal', 'alice']).ended, { code: 1, stderr: /required option '--upstream <name>'/ })
})
