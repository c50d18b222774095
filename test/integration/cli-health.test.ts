import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { health as probe } from '../../src/cli/health.js'
import { createPalette, createTerminal } from '../../src/cli/terminal.js'
import { listening, runCli, startCli } from '../helpers/cli.js'
import { startUpstream } from '../helpers/upstream.js'
import { connectTo } from '../helpers/raw.js'

const CONTAINER = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
const noContainers = spawnSync('unshare', [...CONTAINER.slice(1), 'true']).status !== 0 && 'no PID namespace can be made here'

/** A config with its admin listener at a socket, and an upstream that never answers. */
async function config (t: Test) {
  // Not in the test's own folder, whose path is too long for a socket.
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => await rm(dir, { recursive: true }))
  const upstream = await startUpstream(t, () => {})
  const file = join(t.testdir({
    'valet.yaml': `listen: 127.0.0.1:0
admin: { listen: "unix:${dir}/admin.sock" }
state: { driver: memory }
upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }
`,
  }), 'valet.yaml')
  return { file, upstream }
}

t.test('health: nobody there 3, ready 0, alive and not ready while the last calls end, and the end is 0', async (t) => {
  const { file, upstream } = await config(t)
  const health = async (...more: string[]) => await runCli(t, ['health', ...more], { env: { MCP_VALET_CONFIG: file } })
  t.match(await health(), { code: 3, stdout: '', stderr: /unix:.*has no socket there/ })
  const cli = startCli(t, ['serve', '-c', file])
  const { proxy } = await listening(cli)
  t.match(await health(), { code: 0, stdout: 'ready\n', stderr: '' })
  t.match(await health('--live'), { code: 0, stdout: 'ok\n', stderr: '' })

  const socket = await connectTo(proxy)
  socket.on('error', () => {}).write('GET /tools/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (upstream.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  cli.child.kill('SIGTERM')
  await cli.line((line) => line.includes('"event":"stopping"'))
  // In this process, as another one might take longer to start than the calls have.
  let said = ''
  const terminal = { ...createTerminal(process, {}), out: (text: string) => { said += text }, err: (text: string) => { said += text }, palette: createPalette(false) }
  t.same([await probe({ config: file }, terminal), await probe({ config: file, live: true }, terminal)], [1, 0])
  t.equal(said, 'error: not ready: stopping\nok\n')
  t.match(await cli.ended, { code: 0, signal: null })
})

t.test('as PID 1, which has no signal handling but its own, serve ends with 0 on SIGTERM', { skip: noContainers }, async (t) => {
  const { file } = await config(t)
  const cli = startCli(t, ['serve', '-c', file], { under: CONTAINER })
  await listening(cli)
  const children = await readFile(`/proc/${cli.child.pid}/task/${cli.child.pid}/children`, 'utf8')
  const pid = Number(children.trim())
  t.match(await readFile(`/proc/${pid}/status`, 'utf8'), /^NSpid:\s+\d+\s+1$/m, 'it is PID 1')
  process.kill(pid, 'SIGTERM')
  t.match(await cli.ended, { code: 0, signal: null, stderr: '' })
  t.match(cli.output().stdout, '"event":"stopped"')
})

t.test('a config that is not there: what to do, also in a container', async (t) => {
  t.match(await runCli(t, [], { env: { MCP_VALET_CONFIG: '/etc/mcp-valet/none.yaml' } }), { code: 1, stderr: /none\.yaml there is no such file \(in a container: mount yours there, read-only\)/ })
})

t.test('health -c of a file that is not there asks nobody', async (t) => {
  t.match(await runCli(t, ['health', '-c', '/nonexistent/valet.yaml']), { code: 1, stdout: '', stderr: /^error: \/nonexistent\/valet\.yaml is not there/ })
})
