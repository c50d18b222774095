import { readFileSync } from 'node:fs'
import t from 'tap'
import { VERSION } from '../../src/version.js'
import { runCli } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'

t.test('--help lists the verbs and says where to start', async (t) => {
  const { code, stdout, stderr } = await runCli(t, ['--help'])
  t.equal(code, 0)
  for (const verb of ['serve', 'demo', 'check', 'schema', 'keygen', 'session', 'status', 'refresh']) t.match(stdout, new RegExp(`^ +${verb}\\b`, 'm'), verb)
  t.match(stdout, 'Start here:')
  t.equal(stderr, '')
})

t.test('a verb has help of its own', async (t) => {
  const { code, stdout } = await runCli(t, ['serve', '--help'])
  t.equal(code, 0)
  t.match(stdout, '--config <file>')
  t.match(stdout, 'MCP_VALET_CONFIG')
})

t.test('--version is the version', async (t) => {
  t.match(await runCli(t, ['--version']), { code: 0, stdout: VERSION + '\n' })
})

t.test('an unknown verb is an error that names it and points to help', async (t) => {
  const { code, stdout, stderr } = await runCli(t, ['chekc'])
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /unknown verb 'chekc'/)
  t.match(stderr, /check/, 'and what may have been meant')
  t.match(stderr, '--help')
})

t.test('an unknown verb with words after it is told as such', async (t) => {
  t.match(await runCli(t, ['lock', 'list']), { code: 1, stderr: /unknown verb 'lock'\n/ })
})

t.test('a word that is like no verb is an error without a guess', async (t) => {
  const { code, stderr } = await runCli(t, ['frobnicate'])
  t.equal(code, 1)
  t.match(stderr, /unknown verb 'frobnicate'\n/)
})

t.test('an unknown option is an error that names it', async (t) => {
  const { code, stderr } = await runCli(t, ['check', '--cnofig', 'x'])
  t.equal(code, 1)
  t.match(stderr, /unknown option '--cnofig'/)
})

t.test('a level that is none is an error', async (t) => {
  const { code, stderr } = await runCli(t, ['serve', '--log-level', 'loud'])
  t.equal(code, 1)
  t.match(stderr, /loud/)
  t.match(stderr, /debug, info, warn, error/)
})

t.test('keygen prints a new session key, and nothing else', async (t) => {
  const [one, two] = await Promise.all([runCli(t, ['keygen']), runCli(t, ['keygen'])])
  t.match(one, { code: 0, stdout: /^vk_[\w-]{43}\n$/, stderr: '' })
  t.not(one.stdout, two.stdout)
})

t.test('schema prints the schema that is shipped', async (t) => {
  const { code, stdout } = await runCli(t, ['schema'])
  t.equal(code, 0)
  t.equal(stdout, readFileSync(new URL('../../config/valet.schema.json', import.meta.url), 'utf8'))
})

t.test('check ends with 1 where there is a problem, and reads the config that MCP_VALET_CONFIG names', async (t) => {
  const { code, stdout, stderr } = await runCli(t, ['check'], { env: { MCP_VALET_CONFIG: '/nonexistent/valet.yaml' } })
  t.match({ code, stdout }, { code: 1, stdout: '' })
  t.match(stderr, '/nonexistent/valet.yaml')
  t.match(stderr, 'there is no such file')
})

t.test('a fault that nobody foresaw is told without its message', async (t) => {
  const secret = mintToken()
  const broken = '--import=data:text/javascript,process.stdout.write=()=>{throw new Error(process.env.TOKEN)}'
  const { code, stderr } = await runCli(t, ['keygen'], { nodeArgs: [broken], env: { TOKEN: secret } })
  t.equal(code, 1)
  t.match(stderr, /^mcp-valet has failed: Error at /)
  t.notMatch(stderr, secret)
})

t.test('demo --once ends with 0 after its calls', async (t) => {
  const { code, stdout } = await runCli(t, ['demo', '--once'])
  t.equal(code, 0, stdout)
})

t.test('a variable that is empty counts as not set', async (t) => {
  const cwd = t.testdir()
  const empty = { MCP_VALET_CONFIG: '', MCP_VALET_ADMIN_URL: '', MCP_VALET_LOG_LEVEL: '', MCP_VALET_ADMIN_TOKEN: '' }
  t.match(await runCli(t, ['session', 'list'], { cwd, env: empty }), { code: 1, stderr: /^error: config\/valet\.yaml there is no such file/ })
  t.match(await runCli(t, ['serve'], { cwd, env: empty }), { code: 1, stderr: /^config\/valet\.yaml there is no such file/ })
})

t.test('a config that is named without -c is told how to name it', async (t) => {
  for (const args of [['good.yaml'], ['serve', 'good.yaml'], ['check', 'good.yaml']]) t.match(await runCli(t, args), { code: 1, stdout: '', stderr: /-c good\.yaml\n/ }, args.join(' '))
  t.match(await runCli(t, ['check', 'mine']), { code: 1, stdout: '', stderr: /check takes no 'mine'/ })
})
