import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runLogin, type LoginVerbOptions } from '../../../src/cli/login.js'
import { createPalette } from '../../../src/cli/terminal.js'
import { call } from '../../helpers/call.js'
import { callbackOf } from '../../helpers/login.js'
import { answer as answering, challenge, RESOURCE_PATH, startLoginPeer, type LoginPeer } from '../../helpers/login-peer.js'
import { eventually } from '../../helpers/peers.js'
import { startSidecar } from '../../helpers/sidecar.js'
import { answerJson } from '../../helpers/upstream.js'

interface Config { readonly folder: string, readonly file: string, readonly yaml: string, readonly state: string }

/** A config file with a state of its own. */
function configFor (t: Test, url: string, more = ''): Config {
  const folder = t.testdir()
  const [file, state] = [join(folder, 'valet.yaml'), join(folder, 'state')]
  const yaml = `state: { driver: lmdb, path: "${state}" }\nupstreams: { tools: { url: "${url}" } }\n${more}`
  writeFileSync(file, yaml)
  return { folder, file, yaml, state }
}

interface Verb { readonly exit: Promise<0 | 1>, readonly said: { out: string, err: string }, printed (): Promise<URL> }

/** The verb, in this process: what is no terminal here is none to it either. */
function start (t: Test, config: string, options: Partial<LoginVerbOptions> = {}, isTerminal = false): Verb {
  const said = { out: '', err: '' }
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const exit = runLogin({ principal: 'alice', upstream: 'tools', config, browser: false, timeout: '5m', yes: true, env: {}, stop: stop.signal, ...options }, {
    out: (text) => { said.out += text },
    err: (text) => { said.err += text },
    isTerminal,
    palette: createPalette(false),
  })
  const shown = (): string | undefined => /^ {2}(http:\S+)$/m.exec(said.err)?.[1]
  return {
    exit,
    said,
    async printed () {
      await eventually(() => shown() !== undefined, 'the address of the login page')
      return new URL(shown() as string)
    },
  }
}

/** The person logs in. */
async function answer ({ printed }: Verb, peer: LoginPeer): Promise<void> {
  await fetch(callbackOf(await printed(), { code: peer.tokens.code, iss: peer.origin }))
}

t.test('a person reads what happens, what came of it and what is next', async (t) => {
  const peer = await startLoginPeer(t)
  const { file, state } = configFor(t, peer.mcp)
  const verb = start(t, file)
  await answer(verb, peer)
  t.equal(await verb.exit, 0)
  t.equal(verb.said.out, `Logged in: principal alice may now be used at upstream tools; its token expires in 10 min; the refresh token is kept sealed in the state (${state}).
Next, a session key for an agent:
  mcp-valet session create --principal alice --agent NAME
`)
  t.match(verb.said.err, `The upstream tools (${peer.mcp}) says that its tokens come from ${peer.origin}.
Issuer    ${peer.origin}
Client    registered (registered just now)
Scope     (what the issuer gives without being asked)
Resource  ${peer.mcp}

Open this page in a browser to log in as alice:
`)
  t.match(verb.said.err, /\nWaiting for up to 5m; Ctrl-C cancels\.\n$/)
})

t.test('a script reads it as JSON, without tokens', async (t) => {
  const peer = await startLoginPeer(t)
  const { file, state } = configFor(t, peer.mcp)
  for (const isTerminal of [false, true]) {
    const verb = start(t, file, { json: true, scope: 'a' }, isTerminal)
    await answer(verb, peer)
    t.equal(await verb.exit, 0)
    t.equal(verb.said.out.split('\n').length > 2, isTerminal, 'on many lines for people alone')
    t.match(JSON.parse(verb.said.out), {
      principal: 'alice',
      upstream: 'tools',
      issuer: peer.origin,
      client_id: 'registered',
      client_from: 'registration',
      scope: 'a',
      resource: peer.mcp,
      expires_at: /^20.*Z$/,
      refresh_token: true,
      client_secret_expires_at: null,
      kept: `in the state (${state})`,
    })
  }
})

t.test('an access token alone is kept with a warning', async (t) => {
  const peer = await startLoginPeer(t, (origin, { access }) => ({
    '/mcp': (seen, response, request) => seen.headers.authorization === `Bearer ${access}`
      ? answerJson(seen, response)
      : challenge(`resource_metadata="${origin}${RESOURCE_PATH}"`)(seen, response, request),
    '/token': { access_token: access, token_type: 'Bearer' },
  }))
  const { file, yaml } = configFor(t, peer.mcp)
  const verbs = [start(t, file), start(t, file, { json: true })]
  for (const verb of verbs) {
    await answer(verb, peer)
    t.equal(await verb.exit, 0)
    t.match(verb.said.err, 'warning: the issuer gave no refresh token.')
  }
  t.match(verbs[0]?.said.out, /when its token expires the issuer does not say; it is kept sealed .*, without a refresh token\./)
  t.match(JSON.parse(verbs[1]?.said.out as string), { scope: null, expires_at: null, refresh_token: false })
  const sidecar = await startSidecar(t, yaml)
  t.match(sidecar.credentials.list(), [{ principal: 'alice', upstream: 'tools', type: 'refresh_token', source: 'api' }])
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
})

t.test('a secret that ends is warned of', async (t) => {
  const ends = Math.floor(Date.now() / 1000) + 100 * 86_400 + 60
  const date = new Date(ends * 1000).toISOString()
  const peer = await startLoginPeer(t, () => ({ '/register': answering(201, { client_id: 'made', client_secret: 'hush', client_secret_expires_at: ends }) }))
  const { file } = configFor(t, peer.mcp)
  const verbs = [start(t, file), start(t, file, { json: true })]
  for (const verb of verbs) {
    await answer(verb, peer)
    t.equal(await verb.exit, 0)
    t.match(verb.said.err, `warning: the client that the issuer registered has a secret that ends at ${date} (in 100 d). From then on nothing is renewed: log in again before,`)
  }
  t.match(JSON.parse(verbs[1]?.said.out as string), { client_secret_expires_at: date })
})

t.test('a login in place of what the config has is told', async (t) => {
  const peer = await startLoginPeer(t)
  const { file } = configFor(t, peer.mcp, 'principals: { "al ice\'s": { credentials: { tools: { type: api_token, token: { env: T } } } } }\n')
  const verb = start(t, file, { principal: 'al ice\'s' })
  await answer(verb, peer)
  t.equal(await verb.exit, 0)
  t.match(verb.said.err, 'Note: from then on this login counts for al ice\'s at tools, and not the api_token of the config.')
  t.match(verb.said.out, '--principal \'al ice\'\\\'\'s\' --agent NAME', 'as a shell takes it')
})

t.test('without a terminal and without --yes nobody is asked, and the issuer hears nothing', async (t) => {
  const peer = await startLoginPeer(t)
  const { yes: _, ...asked } = { yes: true }
  const verb = start(t, configFor(t, peer.mcp).file, { ...asked, yes: undefined as never, json: true })
  t.equal(await verb.exit, 1)
  t.equal(verb.said.out, '')
  t.match(verb.said.err, `says that its tokens come from ${peer.origin}.\nerror: there is no terminal to ask at: look at the address above, and pass --yes`)
  t.same(peer.at('/.well-known/oauth-authorization-server'), [])
})

t.test('nobody comes within --timeout', async (t) => {
  const peer = await startLoginPeer(t)
  const verb = start(t, configFor(t, peer.mcp).file, { timeout: '50ms' })
  t.equal(await verb.exit, 1)
  t.match(verb.said.err, /error: nobody finished the login in time: run it again, with a longer --timeout/)
})

t.test('over SSH it says how the browser finds the way back', async (t) => {
  const peer = await startLoginPeer(t)
  const { file } = configFor(t, peer.mcp)
  for (const [connection, host] of [['198.51.100.7 50000 203.0.113.9 2222', '-p 2222 203.0.113.9'], ['198.51.100.7 50000 203.0.113.9 22', '203.0.113.9'], ['', 'THIS-HOST']] as const) {
    // With a browser: over SSH it is not where the person is.
    const verb = start(t, file, { env: { SSH_CONNECTION: connection }, browser: true })
    const { port } = new URL((await verb.printed()).searchParams.get('redirect_uri') as string)
    t.match(verb.said.err, `\n  ssh -L ${port}:127.0.0.1:${port} ${host}\n`)
  }
})

t.test('--redirect-port is the port of the way back', async (t) => {
  const peer = await startLoginPeer(t)
  const { file } = configFor(t, peer.mcp)
  const { port } = new URL((await start(t, file).printed()).searchParams.get('redirect_uri') as string)
  const taken = start(t, file, { redirectPort: port })
  t.equal(await taken.exit, 1)
  t.match(taken.said.err, `error: port ${port} on 127.0.0.1 is in use`)
})

t.test('what cannot begin is told before anybody is asked to log in', async (t) => {
  const peer = await startLoginPeer(t)
  const { folder, file, yaml } = configFor(t, peer.mcp)
  const memory = join(folder, 'memory.yaml')
  writeFileSync(memory, yaml.replace(/^state:.*$/m, 'state: { driver: memory }'))
  const cases: ReadonlyArray<[what: string, file: string, options: Partial<LoginVerbOptions>, message: RegExp]> = [
    ['no state', memory, {}, /nowhere to keep a login: state\.driver is memory, and without admin\.token/],
    ['a wait that is none', file, { timeout: '5' }, /--timeout: expected a duration/],
    ['a port that is none', file, { redirectPort: '70000' }, /--redirect-port: expected a port from 1 to 65535/],
    ['a port that is no number', file, { redirectPort: 'x' }, /--redirect-port: expected a port/],
    ['a scope that is none', file, { scope: 'a  b' }, /--scope: expected scopes/],
    ['no such upstream', file, { upstream: 'tols' }, /no upstream of that name: it has tools/],
    ['no such config', '/nonexistent.yaml', {}, /the config cannot be used:\n\/nonexistent\.yaml there is no such file/],
  ]
  for (const [what, config, options, message] of cases) {
    const { exit, said } = start(t, config, options)
    t.equal(await exit, 1, what)
    t.match(said, { out: '', err: message }, what)
  }
  t.same(peer.seen, [])
})

t.test('a state that cannot be used is told', async (t) => {
  const peer = await startLoginPeer(t)
  const { file, state } = configFor(t, peer.mcp)
  const first = start(t, file)
  await answer(first, peer)
  await first.exit
  chmodSync(join(state, 'state.key'), 0o604)
  const { exit, said } = start(t, file)
  t.equal(await exit, 1)
  t.match(said.err, /is open to every user of this machine: chmod o-rwx it/)
})

t.test('a fault that nobody foresaw is left to whoever knows how to tell it', async (t) => {
  const peer = await startLoginPeer(t)
  const verb = start(t, configFor(t, peer.mcp).file, { stop: undefined as never })
  await t.rejects(verb.exit, TypeError)
  t.equal(verb.said.out, '')
})
