import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findTarget, type TargetOptions } from '../../../src/cli/admin-target.js'
import { mintToken } from '../../helpers/mint.js'

const UPSTREAM = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }\n'

async function find (t: Test, yaml: string | undefined, options: Partial<TargetOptions> = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  const config = join(dir, 'valet.yaml')
  if (yaml !== undefined) await writeFile(config, yaml + UPSTREAM)
  const target = await findTarget({ config, env: {}, ...options })
  return { ...target, secret: await target.token?.read().then((token) => token.reveal(), (error: Error) => error.message) }
}

t.test('the config says where the sidecar is, and where its token', async (t) => {
  const TOKEN = mintToken()
  t.match(await find(t, 'admin: { token: { env: TOKEN } }\n', { env: { TOKEN } }), { name: 'http://127.0.0.1:8402', secret: TOKEN, isPlain: false })
  t.match(await find(t, 'admin: { listen: "0.0.0.0:9000" }\n'), { name: 'http://127.0.0.1:9000', token: undefined })
  t.match(await find(t, 'admin: { listen: "[::]:9000" }\n'), { name: 'http://[::1]:9000' })
  t.match(await find(t, 'admin: { listen: "[fd00::1]:9000" }\n'), { name: 'http://[fd00::1]:9000', isPlain: true })
  t.match(await find(t, 'admin: { listen: "valet.internal:9000" }\n'), { name: 'http://valet.internal:9000', isPlain: true })
  t.match(await find(t, 'admin: { listen: "unix:/run/valet.sock" }\n'), { name: 'unix:/run/valet.sock', at: { socket: '/run/valet.sock' }, isPlain: false })
})

t.test('--admin-url comes before the config', async (t) => {
  for (const [adminUrl, name] of [
    ['http://127.0.0.1:1', 'http://127.0.0.1:1'], ['https://valet.example', 'https://valet.example'], ['https://ops.example/valet/', 'https://ops.example/valet'], ['127.0.0.1:2', 'http://127.0.0.1:2'],
    ['[::1]:3', 'http://[::1]:3'], ['localhost:4', 'http://localhost:4'], ['unix:/x.sock', 'unix:/x.sock'],
  ] as const) {
    t.match(await find(t, undefined, { adminUrl }), { name, token: undefined }, adminUrl)
  }
})

t.test('the token comes from the file that is named, else the environment, else the config', async (t) => {
  const [file, env, config] = [mintToken(), mintToken(), mintToken()]
  const path = join(t.testdir({ token: file }), 'token')
  await chmod(path, 0o600)
  const yaml = 'admin: { token: { env: TOKEN } }\n'
  const all = { env: { MCP_VALET_ADMIN_TOKEN: env, TOKEN: config }, adminTokenFile: path }
  t.equal((await find(t, yaml, all)).secret, file)
  t.equal((await find(t, yaml, { env: all.env })).secret, env)
  t.equal((await find(t, yaml, { env: { TOKEN: config, MCP_VALET_ADMIN_TOKEN: '' } })).secret, config)
  t.equal((await find(t, yaml, { env: { TOKEN: config }, adminUrl: 'http://127.0.0.1:1' })).secret, config)
  await chmod(path, 0o644)
  t.match((await find(t, yaml, all)).secret, /open to every user of this machine/)
})

t.test('what cannot be found is told with what to do', async (t) => {
  await t.rejects(find(t, 'admin: { listen: "127.0.0.1:0" }\n'), { name: 'AdminFailure', exitCode: 1, message: /port 0.*--admin-url/s })
  await t.rejects(find(t, undefined), { exitCode: 1, message: /there is no such file.*--admin-url URL.*--admin-token-file FILE/s })
  await t.rejects(find(t, 'admn: {}\n'), { exitCode: 1, message: /:1:1.*admn.*--admin-url/s })
})

t.test('an address that is none is refused, and not repeated', async (t) => {
  const secret = mintToken()
  for (const adminUrl of ['', 'x', 'ftp://x', `http://admin:${secret}@localhost:1`, `http://localhost:1/?token=${secret}`, `http://localhost:1/#${secret}`, 'http://', 'unix:relative', '127.0.0.1', '127.0.0.1:99999']) {
    const error = await find(t, undefined, { adminUrl }).catch((error: unknown) => error) as Error
    t.match(error, { name: 'AdminFailure', exitCode: 1, message: /http:\/\/host:port/ }, adminUrl)
    t.notMatch(error.message, secret)
  }
})

t.test('what is no problem of the config is not taken for one', async (t) => {
  const { findTarget: mocked } = await t.mockImport<typeof import('../../../src/cli/admin-target.js')>('../../../src/cli/admin-target.js', {
    '../../../src/config/load.js': { loadConfigFile: async () => { throw new TypeError('a fault') }, ConfigError: class {} },
  })
  await t.rejects(mocked({ config: 'x', env: {} }), { name: 'TypeError' })
  await t.rejects(mocked({ config: 'x', env: {}, adminUrl: 'http://127.0.0.1:1' }), { name: 'TypeError' })
})
