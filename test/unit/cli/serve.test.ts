import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { serve } from '../../../src/cli/serve.js'
import { Canaries } from '../../helpers/canary.js'
import { mintToken } from '../../helpers/mint.js'

const LISTEN = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\n'
const UPSTREAM = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }\n'
const ALICE = 'principals: { alice: { credentials: {} } }\n'

/** Serves a config that cannot be served; the handlers that it sets for the process go with the test. */
async function run (t: Test, yaml: string | undefined, env: NodeJS.ProcessEnv = {}) {
  // Not in the test's own folder, whose path is too long for a socket.
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  if (yaml !== undefined) await writeFile(join(dir, 'valet.yaml'), yaml.replaceAll('DIR', dir))
  const before = { uncaughtException: process.listeners('uncaughtException'), unhandledRejection: process.listeners('unhandledRejection') }
  const { write } = process.stderr
  let stderr = ''
  Object.assign(process.stderr, { write: (text: string) => { stderr += text; return true } })
  try {
    const code = await serve({ config: join(dir, 'valet.yaml'), logLevel: 'error', env, stop: AbortSignal.abort(), onReload () {} })
    return { code, stderr }
  } finally {
    Object.assign(process.stderr, { write })
    for (const [event, listeners] of Object.entries(before)) {
      for (const listener of process.listeners(event as 'uncaughtException')) {
        if (!(listeners as unknown[]).includes(listener)) process.removeListener(event, listener)
      }
    }
  }
}

async function takenPort (t: Test): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  return (server.address() as AddressInfo).port
}

t.test('a config that is not there: 1, and what to do', async (t) => {
  const { code, stderr } = await run(t, undefined)
  t.equal(code, 1)
  t.match(stderr, 'there is no such file')
  t.match(stderr, '-c FILE or MCP_VALET_CONFIG')
  t.match(stderr, 'mcp-valet check -c')
  t.match(stderr, 'mcp-valet demo')
})

t.test('a config with mistakes: 1, and each with its line', async (t) => {
  const { code, stderr } = await run(t, `${LISTEN}${UPSTREAM}callerz: {}\nprincipals: { alice: { credentials: { nope: {} } } }\n`)
  t.equal(code, 1)
  t.match(stderr, /:5:1.*callerz/)
  t.match(stderr, /:6:.*nope/)
})

t.test('row 46: a secret that was written into the config is not repeated', async (t) => {
  const canaries = new Canaries()
  const secrets = ['token', 'key', 'client secret'].map((name) => canaries.add(name, mintToken()))
  const { code, stderr } = await run(t, `${LISTEN}${UPSTREAM}principals: { alice: { credentials: { tools: { type: api_token, token: ${secrets[0]} } } } }
sessions: [{ principal: alice, agent: a, key: ${secrets[1]} }]
callers: { header: "${secrets[2]} x", origins: ["${secrets[2]}"] }\n`)
  t.equal(code, 1)
  t.same(canaries.findIn(stderr), [])
})

for (const [which, yaml] of [['the proxy', (port: number) => LISTEN.replace('listen: 127.0.0.1:0', `listen: 127.0.0.1:${port}`)], ['the admin listener', (port: number) => LISTEN.replace('{ listen: 127.0.0.1:0', `{ listen: 127.0.0.1:${port}`)]] as const) {
  t.test(`a port of ${which} that is taken: 1, and which`, async (t) => {
    const port = await takenPort(t)
    const { code, stderr } = await run(t, yaml(port) + UPSTREAM)
    t.equal(code, 1)
    t.match(stderr, `127.0.0.1:${port} is in use: stop what listens there, or change listen and admin.listen`)
  })
}

t.test('a socket path that is a file: 1, and the file is left alone', async (t) => {
  const { code, stderr } = await run(t, `listen: "unix:DIR/valet.yaml"\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\n${UPSTREAM}`)
  t.equal(code, 1)
  t.match(stderr, 'valet.yaml is in use by something that is no socket: name another path')
})

t.test('a socket path in a folder that is not there: 1, with what the system says', async (t) => {
  const { code, stderr } = await run(t, `${LISTEN.replace('127.0.0.1:0', '"unix:/nonexistent/valet.sock"')}${UPSTREAM}`)
  t.equal(code, 1)
  t.match(stderr, /mcp-valet cannot start: listen E.*: c/)
})

t.test('a session key that is none: 1, and it is not repeated', async (t) => {
  const key = mintToken('vk')
  const { code, stderr } = await run(t, `${LISTEN}${UPSTREAM}${ALICE}sessions: [{ principal: alice, agent: a, key: { env: KEY } }]\n`, { KEY: key })
  t.equal(code, 1)
  t.match(stderr, 'mcp-valet keygen')
  t.notMatch(stderr, key)
})

t.test('a session key that is missing: 1, and where it should be', async (t) => {
  const { code, stderr } = await run(t, `${LISTEN}${UPSTREAM}${ALICE}sessions: [{ principal: alice, agent: a, key: { env: KEY } }]\n`)
  t.equal(code, 1)
  t.match(stderr, 'the environment variable KEY is not set')
})

t.test('session keys that cannot be used: 1, and all of them with their place and line, and how to look again', async (t) => {
  const twice = `vk_${mintToken('').slice(1).padEnd(43, 'a').slice(0, 43)}`
  const of = (name: string): string => `  - { principal: alice, agent: ${name}, key: { env: ${name} } }\n`
  const { code, stderr } = await run(t, `${LISTEN}${UPSTREAM}${ALICE}sessions:\n${['A', 'B', 'C', 'D'].map(of).join('')}`, { A: 'none', B: twice, C: twice })
  t.equal(code, 1)
  t.match(stderr, /valet\.yaml:7:\d+ sessions\[0\]\.key: env A holds what is not a session key: make one with `mcp-valet keygen`\n/)
  t.match(stderr, /valet\.yaml:9:\d+ sessions\[2\]\.key: env C holds a session key that is already in use, by sessions\[1\]: each agent needs its own\n/)
  t.match(stderr, /valet\.yaml:10:\d+ sessions\[3\]\.key: the environment variable D is not set\n/)
  t.notMatch(stderr, /sessions\[1\]\.key:/)
  t.match(stderr, 'mcp-valet check -c')
  t.notMatch(stderr, twice)
})

t.test('a Redis that is not there: 1, and no promise to connect again, as nothing is left that could', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const { code, stderr } = await run(t, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: redis, url: { env: REDIS }, key: { env: KEY } }\n${UPSTREAM}`, { REDIS: `redis://127.0.0.1:${port}`, KEY: 'k'.repeat(32) })
  t.equal(code, 1)
  t.equal(stderr, `mcp-valet cannot start: Redis at 127.0.0.1:${port} cannot be reached (ECONNREFUSED): check that it runs, and state.url\n`)
})

t.test('a state that cannot be opened: 1, and why', async (t) => {
  const { code, stderr } = await run(t, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: lmdb, path: "DIR/valet.yaml/state" }\n${UPSTREAM}`)
  t.equal(code, 1)
  t.match(stderr, /valet.yaml\/state/)
  t.match(stderr, 'writable')
})

t.test('row 46: an unforeseen fault at the start is told without its message', async (t) => {
  const secret = mintToken()
  const { serve: mocked } = await t.mockImport<typeof import('../../../src/cli/serve.js')>('../../../src/cli/serve.js', {
    '../../../src/sidecar.js': { createSidecar: async () => { throw new TypeError(`cannot read ${secret}`) } },
  })
  const dir = t.testdir({ 'valet.yaml': LISTEN + UPSTREAM })
  const { write } = process.stderr
  let stderr = ''
  Object.assign(process.stderr, { write: (text: string) => { stderr += text; return true } })
  const code = await mocked({ config: join(dir, 'valet.yaml'), logLevel: 'error', env: {}, stop: AbortSignal.abort(), onReload () {} }).finally(() => Object.assign(process.stderr, { write }))
  t.equal(code, 1)
  t.match(stderr, 'mcp-valet cannot start: TypeError at ')
  t.notMatch(stderr, secret)
})
