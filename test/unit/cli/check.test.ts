import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { check } from '../../../src/cli/check.js'
import { mintToken } from '../../helpers/mint.js'

const UPSTREAM = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }\n'
const CONFIG = `state: { driver: memory }\n${UPSTREAM}principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }\n`

async function run (t: Test, config: string, options: { env?: NodeJS.ProcessEnv, secrets?: boolean } = {}) {
  const written = { stdout: t.captureFn(() => true), stderr: t.captureFn(() => true) }
  const { write: stdout } = process.stdout
  const { write: stderr } = process.stderr
  Object.assign(process.stdout, { write: written.stdout })
  Object.assign(process.stderr, { write: written.stderr })
  try {
    const code = await check({ config, secrets: options.secrets ?? true, env: options.env ?? {} })
    return { code, stdout: textOf(written.stdout), stderr: textOf(written.stderr) }
  } finally {
    Object.assign(process.stdout, { write: stdout })
    Object.assign(process.stderr, { write: stderr })
  }
}

const textOf = (capture: { args (): unknown[][] }): string => capture.args().map(([text]) => String(text)).join('')

t.test('check prints the effective config with its secrets masked', async (t) => {
  const token = mintToken()
  const dir = t.testdir({ 'valet.yaml': CONFIG })
  const { code, stdout, stderr } = await run(t, join(dir, 'valet.yaml'), { env: { TOKEN: token } })
  t.match({ code, stderr }, { code: 0, stderr: '' })
  t.match(stdout, 'listen: 127.0.0.1:8401')
  t.match(stdout, 'env: TOKEN')
  t.notMatch(stdout, token)
})

t.test('check tells every problem at once, with its line', async (t) => {
  const dir = t.testdir({ 'valet.yaml': `lisen: 1\n${UPSTREAM}principals:\n  alice:\n    credentials:\n      toolz: { type: api_token }\n      tools: { type: api_token, token: literal }\n` })
  const { code, stdout, stderr } = await run(t, join(dir, 'valet.yaml'))
  t.match({ code, stdout }, { code: 1, stdout: '' })
  t.match(stderr, /1:1.*lisen/)
  t.match(stderr, /toolz/)
  t.match(stderr, /a secret is never written here/)
  t.match(stderr, /3 problems in /)
  t.notMatch(stderr, 'literal')
})

t.test('check finds that a secret is missing, and --offline does not look', async (t) => {
  const file = join(t.testdir({ 'valet.yaml': CONFIG }), 'valet.yaml')
  const looked = await run(t, file)
  t.equal(looked.code, 1)
  t.match(looked.stderr, /valet\.yaml:3:\d+ principals\.alice\.credentials\.tools\.token: the environment variable TOKEN is not set/, 'with its line')
  t.match(looked.stderr, /1 problem in /)
  t.equal((await run(t, file, { secrets: false })).code, 0)
})

t.test('row 47: check finds that a secret\'s file is open to others', async (t) => {
  const token = mintToken()
  const dir = t.testdir({ token })
  await chmod(join(dir, 'token'), 0o644)
  await writeFile(join(dir, 'valet.yaml'), CONFIG.replace('{ env: TOKEN }', `{ file: "${join(dir, 'token')}" }`))
  const { code, stderr } = await run(t, join(dir, 'valet.yaml'))
  t.equal(code, 1)
  t.match(stderr, /open to every user of this machine: chmod o-rwx /)
  t.notMatch(stderr, token)
})

t.test('check warns of what works and is likely not what is wanted', async (t) => {
  const dir = t.testdir({ 'valet.yaml': 'upstreams: { tools: { url: "http://mcp.example/mcp" } }\n' })
  const { code, stderr } = await run(t, join(dir, 'valet.yaml'))
  t.equal(code, 0)
  t.match(stderr, /warning: plain http/)
})

t.test('check warns of a session that is over, and of a token there that has expired', async (t) => {
  const session = (when: string): string => `sessions: [{ principal: alice, agent: a, key: { env: KEY }, expires_at: ${when} }]\n`
  const dir = t.testdir({ past: CONFIG + session('2001-01-01T00:00:00Z'), future: CONFIG + session('2999-01-01T00:00:00Z') })
  const claims = Buffer.from('{"exp":1}').toString('base64url')
  const env = { TOKEN: `e30.${claims}.${mintToken()}`, KEY: `vk_${'a'.repeat(43)}` }
  const { code, stderr } = await run(t, join(dir, 'past'), { env })
  t.equal(code, 0)
  t.match(stderr, /past:4:\d+ sessions\[0\]\.expires_at: warning: has passed: calls with this key are refused/)
  t.match(stderr, /past:3:\d+ principals\.alice\.credentials\.tools\.token: warning: env TOKEN is a JWT that has expired/)
  t.equal((await run(t, join(dir, 'future'), { env: { ...env, TOKEN: mintToken() } })).stderr, '')
})

t.test('what is no problem of the config is not taken for one', async (t) => {
  const { check: mocked } = await t.mockImport<typeof import('../../../src/cli/check.js')>('../../../src/cli/check.js', {
    '../../../src/config/check-secrets.js': { checkSecrets: async () => { throw new TypeError('a fault') } },
  })
  const file = join(t.testdir({ 'valet.yaml': CONFIG }), 'valet.yaml')
  await t.rejects(mocked({ config: file, secrets: true, env: {} }), { name: 'TypeError' })
})
