import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { loadConfigText } from '../../src/config/load.js'
import { createSidecar, GrantError, type CredentialRequest, type CredentialTypeHandler } from '../../src/index.js'
import { call, errorCode } from '../helpers/call.js'
import { freshToken } from '../helpers/peers.js'
import { startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { bearerOf } from '../helpers/tokens.js'
import { answerJson, guarded, startUpstream } from '../helpers/upstream.js'

interface Agent { readonly url: string, readonly headers: Record<string, string> }

/** Runs an example as its reader would, until it is interrupted. @returns what to call it with, and its other lines */
async function example (t: Test, name: string, env: Record<string, string>): Promise<{ agent: Agent, end: () => Promise<{ code: number, lines: string[] }> }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(`../../examples/library/${name}`, import.meta.url))], { env: { PATH: process.env.PATH ?? '', ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  let found = (_agent: Agent): void => {}
  const agent = new Promise<Agent>((resolve) => { found = resolve })
  createInterface({ input: child.stdout }).on('line', (line) => line.startsWith('{') ? found(JSON.parse(line) as Agent) : lines.push(line))
  return {
    agent: await Promise.race([agent, exit.then(() => { throw new Error('the example has ended') })]),
    async end () {
      child.kill('SIGINT')
      const [code] = await exit as [number]
      return { code, lines }
    },
  }
}

t.test('P5: the example that embeds it puts a principal, opens a session, is told of the token and calls a tool', async (t) => {
  const token = freshToken()
  const upstream = await startUpstream(t, guarded((shown) => shown === token))
  const { agent, end } = await example(t, 'embed.mjs', { MCP_URL: `${upstream.origin}/mcp`, MCP_TOKEN: token })
  t.equal((await call(agent.url, { headers: agent.headers })).status, 200)
  t.same(await end(), { code: 0, lines: ['alice has a new token for tools, good for an unknown number of s'] })
})

t.test('P5: the example with a credential type of its own gets its tokens where that says', async (t) => {
  const [token, managerToken] = [freshToken(), freshToken()]
  const upstream = await startUpstream(t, guarded((shown) => shown === token))
  const manager = await startUpstream(t, guarded((shown) => shown === managerToken, (_seen, response) => { response.end(JSON.stringify({ value: token, ttl: 3600 })) }))
  const { agent, end } = await example(t, 'credential-type.mjs', { MCP_URL: `${upstream.origin}/mcp`, MANAGER_URL: manager.origin, MANAGER_TOKEN: managerToken })
  t.equal((await call(agent.url, { headers: agent.headers })).status, 200)
  t.match(manager.seen, [{ url: '/secrets/mcp/alice' }])
  t.equal((await end()).code, 0)
})

async function withType (t: Test, handler: CredentialTypeHandler, options = ''): Promise<{ sidecar: TestSidecar, answer: () => ReturnType<typeof call> }> {
  const upstream = await startUpstream(t, answerJson)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 1s } }
principals: { alice: { credentials: { tools: { type: custom, name: own${options} } } } }
`, { credentialTypes: { own: handler }, env: { SECRET: 'hidden' } })
  const key = await sidecar.keyFor('alice')
  return { sidecar, answer: async () => await call(`${sidecar.proxyUrl}/tools/mcp`, { key }) }
}

t.test('P5: a credential type of one\'s own is given its options with secrets in their places, and its own refresh token back', async (t) => {
  const asked: CredentialRequest[] = []
  const { sidecar, answer } = await withType(t, async (request) => {
    asked.push(request)
    return { accessToken: freshToken(), refreshToken: `rt-${asked.length}`, expiresIn: 3600 }
  }, ', options: { deep: [{ env: SECRET }, 1, null] }')
  t.equal((await answer()).status, 200)
  t.match(await sidecar.credentials.refresh('alice', 'tools'), { type: 'custom', state: 'valid', error: undefined })
  t.match(asked, [
    { principal: 'alice', upstream: 'tools', options: { deep: ['hidden', 1, null] }, refreshToken: undefined },
    { refreshToken: 'rt-1' },
  ])
  t.ok(asked[0]?.signal.aborted, 'nothing is waited for any more')
  t.notMatch(JSON.stringify(sidecar.events), /hidden/)
})

const WRONG: Array<[name: string, handler: CredentialTypeHandler, reason: RegExp]> = [
  ['throws something that quotes a secret', async () => { throw new TypeError('sesame') }, /^the credential type own failed \(TypeError\)$/],
  ['throws what is no Error', async () => { throw 'sesame' }, /failed \(no Error was thrown\)/], // eslint-disable-line no-throw-literal -- others' code may
  ['throws before it is asynchronous', () => { throw new RangeError('sesame') }, /failed \(RangeError\)/],
  ['says why', async () => { throw new GrantError('unavailable', 'the manager is asleep', { retryAfter: 1_000 }) }, /^the manager is asleep$/],
  ['gives no token', async () => ({ accessToken: 'a b' }), /the credential type own gave no usable token/],
  ['gives nothing', async () => undefined as never, /gave no usable token/],
  ['gives a refresh token that is none', async () => ({ accessToken: freshToken(), refreshToken: '\n' }), /no usable refresh token/],
]
for (const [name, handler, reason] of WRONG) {
  t.test(`P5: a credential type of one's own that ${name} harms nobody`, async (t) => {
    const { sidecar, answer } = await withType(t, handler)
    t.equal(errorCode(await answer()), 'ERR_CREDENTIAL_UNAVAILABLE')
    t.match(sidecar.credentials.list(), [{ state: 'failed', error: reason }])
    t.notMatch(JSON.stringify(sidecar.events), /sesame/)
  })
}

t.test('P5: a credential type of one\'s own whose retryAfter is no number is asked as seldom as any that fails', async (t) => {
  let asked = 0
  const { sidecar, answer } = await withType(t, async () => {
    // Were it asked without a pause, nothing else would come to its turn: the test itself would hang.
    if (++asked > 100) await new Promise(() => {})
    throw new GrantError('unavailable', 'busy', { retryAfter: Number(undefined) * 1_000 })
  })
  t.equal(errorCode(await answer()), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.ok(asked < 20, `asked ${asked} times`)
  t.match(sidecar.events.filter(({ event }) => event === 'refresh'), [{ retry_in: 1 }])
})

t.test('P5: a token that a credential type of one\'s own got by other options is not sent; its refresh token is handed back', async (t) => {
  const upstream = await startUpstream(t, answerJson)
  const folder = join(t.testdir(), 'state')
  const asked: string[] = []
  const own: CredentialTypeHandler = async ({ options, refreshToken }) => {
    const { path } = options as { path: string }
    asked.push(`${path} by ${refreshToken}`)
    return { accessToken: `for-${path}`, refreshToken: `rt-${path}` }
  }
  for (const path of ['test', 'test', 'prod']) {
    const sidecar = await startSidecar(t, `
state: { driver: lmdb, path: "${folder}" }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: custom, name: own, options: { path: ${path} } } } } }
`, { credentialTypes: { own } })
    await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
    await sidecar.close()
    t.equal(bearerOf(upstream.seen.at(-1)), `for-${path}`)
  }
  t.same(asked, ['test by undefined', 'prod by rt-test'])
})

t.test('P5: a credential type that nobody registered is refused at the start, with what to do', async (t) => {
  const config = loadConfigText(`
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }
principals: { alice: { credentials: { tools: { type: custom, name: toString } } } }
`, { env: {} })
  await t.rejects(createSidecar(config), { name: 'RangeError', message: /under the name "toString", which principal "alice" has at upstream tools: hand it to createSidecar as credentialTypes/ })
})
