import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { call } from '../helpers/call.js'
import { listening, runCli, startCli } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'
import { freshToken } from '../helpers/peers.js'
import { makeCa, makeCertificate, startTlsUpstream } from '../helpers/tls.js'
import { startUpstream } from '../helpers/upstream.js'

/** A sidecar as a process, whose admin listener is a socket, and whose config is the only thing that its operator names. */
async function serve (t: Test) {
  const upstream = await startUpstream(t)
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  const config = join(dir, 'valet.yaml')
  const token = mintToken()
  await writeFile(config, `
listen: 127.0.0.1:0
admin: { listen: "unix:${dir}/admin.sock", token: { env: VALET_ADMIN_TOKEN } }
state: { driver: memory }
upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: api_token } } }
principals:
  alice: { credentials: { tools: { token: { env: ALICE } } } }
  bob: { credentials: { tools: { token: { env: BOB } } } }
`)
  const env = { VALET_ADMIN_TOKEN: token }
  const valet = startCli(t, ['serve', '-c', config], { env: { ...env, ALICE: freshToken(), BOB: 'not a token' } })
  const { proxy, admin } = await listening(valet)
  t.equal(admin, `unix:${dir}/admin.sock`)
  return { valet, proxy, dir, token, run: async (args: string[], more: Record<string, string> = {}) => await runCli(t, [...args, '-c', config], { env: { ...env, ...more } }) }
}

t.test('an operator has the config, and the verbs find the sidecar by it', async (t) => {
  const { valet, proxy, run } = await serve(t)
  const made = await run(['session', 'create', '--principal', 'alice', '--agent', 'planner', '--tools', 'a*, b', '--tools', 'c', '--ttl', '1d'])
  t.match(made, { code: 0, stdout: /^vk_[\w-]{43}\n$/, stderr: /^session ses_/ })
  const key = made.stdout.trim()
  t.equal((await call(`${proxy}/tools/mcp`, { key })).status, 200)

  const [list, status, refused, refreshed] = await Promise.all([
    run(['session', 'list']), run(['status']), run(['status'], { VALET_ADMIN_TOKEN: mintToken() }), run(['refresh', 'alice', 'tools']),
  ])
  t.match(list, { code: 0, stdout: /planner +a\*, b, c +in 24 h +api/, stderr: '' })
  t.match(status, { code: 2, stdout: /^bob +tools +api_token +failed .*RFC 6750/m })
  t.match(refused, { code: 1, stdout: '', stderr: /^error: unix:.* refuses the admin token of env VALET_ADMIN_TOKEN/ })
  t.match(refreshed, { code: 0, stdout: /^alice at tools: valid/ })
  for (const { stdout, stderr } of [list, status, refused, refreshed]) t.notMatch(stdout + stderr, key)

  const id = /ses_[\w-]+/.exec(list.stdout)?.[0] as string
  t.match(await run(['session', 'revoke', id]), { code: 0, stdout: `${id} revoked\n` })
  t.equal((await call(`${proxy}/tools/mcp`, { key })).status, 401)

  valet.child.kill('SIGTERM')
  await valet.ended
  t.match(await run(['status', '--json']), { code: 3, stdout: '', stderr: /cannot be reached at unix:.*mcp-valet serve/ })
})

t.test('--watch ends with Ctrl-C, as the last look was', async (t) => {
  const { dir, token } = await serve(t)
  const watching = startCli(t, ['status', '--watch', '--json', '-c', join(dir, 'valet.yaml')], { env: { MCP_VALET_ADMIN_TOKEN: token } })
  await watching.line((line) => line.includes('"credentials"'))
  watching.child.kill('SIGINT')
  t.match(await watching.ended, { code: 2, stderr: '' })
})

t.test('what is missing from the command line is told', async (t) => {
  const [none, ids, tools, url] = await Promise.all([
    runCli(t, ['session', 'create', '--agent', 'x']), runCli(t, ['session', 'revoke']), runCli(t, ['session', 'create', '--principal', 'a', '--agent', 'x', '--tools', ' , ']),
    runCli(t, ['status'], { env: { MCP_VALET_ADMIN_URL: 'nonsense' } }),
  ])
  t.match(none, { code: 1, stderr: /--principal <name>' not specified/ })
  t.match(ids, { code: 1, stderr: /missing required argument 'id'/ })
  t.match(tools, { code: 1, stderr: /Expected names of tools or globs/ })
  t.match(url, { code: 1, stderr: /--admin-url is no address/ })
})

t.test('the help of a verb says what it ends with', async (t) => {
  for (const verb of [['session', 'create'], ['status'], ['refresh']]) {
    t.match(await runCli(t, [...verb, '--help']), { code: 0, stdout: /Ends with 0: done\. 1: refused, or failed\. 2 \(status alone\).* 3: the sidecar cannot be reached\./ })
  }
})

t.test('a certificate for another name is told as such, and with the authority that is named it is trusted', async (t) => {
  const ca = await makeCa()
  const dir = t.testdir({ 'ca.pem': ca.cert })
  const env = { MCP_VALET_ADMIN_TOKEN: mintToken(), NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') }
  const at = async (name: string): Promise<string> => `https://localhost:${(await startTlsUpstream(t, await makeCertificate([name], ca))).port}`
  const [other, right] = await Promise.all([at('other.example'), at('localhost')].map(async (url) => await runCli(t, ['session', 'list', '--admin-url', await url], { env })))
  t.match(other, { code: 3, stdout: '', stderr: /^error: the certificate of https:\/\/localhost:\d+ is for another name: .*--admin-url \(ERR_TLS_CERT_ALTNAME_INVALID\)/ })
  t.match(right, { code: 1, stderr: /is not the admin API of mcp-valet \(HTTP 200\)/ })
})
