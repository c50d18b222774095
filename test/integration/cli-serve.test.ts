import { once } from 'node:events'
import { access, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Canaries } from '../helpers/canary.js'
import { listening, startCli } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'
import { connectTo, requestText, sendRaw } from '../helpers/raw.js'
import { startUpstream, type Answer } from '../helpers/upstream.js'

async function start (t: Test, options: { listen?: string, admin?: string, answer?: Answer, nodeArgs?: string[] } = {}) {
  const token = mintToken()
  const upstream = await startUpstream(t, options.answer)
  const file = join(t.testdirName, 'valet.yaml')
  t.testdir({
    'valet.yaml': `
listen: ${options.listen ?? '127.0.0.1:0'}
admin: { listen: ${options.admin ?? '127.0.0.1:0'} }
state: { driver: memory }
upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`,
  })
  const run = () => startCli(t, ['-c', file, '--log-level', 'debug'], { env: { TOKEN: token }, ...options })
  return { run, upstream, token, file }
}

const get = async (url: string, path: string) => await sendRaw(url, requestText(`GET ${path} HTTP/1.1`, ['Host: localhost']))

t.test('serve says where it listens, logs JSON lines and nothing else, and ends with 0 on SIGTERM', async (t) => {
  const { run, token } = await start(t)
  const cli = run()
  const { proxy, admin } = await listening(cli)
  t.equal((await get(admin, '/healthz')).status, 200)
  t.equal((await get(admin, '/readyz')).status, 200)
  t.equal((await get(proxy, '/tools/mcp')).status, 200)
  cli.child.kill('SIGTERM')
  const { code, signal, stdout, stderr } = await cli.ended
  t.same({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  const lines = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
  t.same(lines.map(({ event }) => event).filter((event) => event !== 'refresh'), ['listening', 'anonymous', 'call', 'stopping', 'stopped'])
  for (const line of lines) t.match(line, { level: String, time: /^\d{4}-\d\d-\d\dT/, msg: String, event: String })
  t.notMatch(stdout, token)
})

t.test('both listeners can be unix sockets, for their owner alone, also after a kill -9 left them behind', async (t) => {
  // Not in the test's own folder, whose path is too long for a socket.
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  const [front, back] = ['a.sock', 'b.sock'].map((name) => join(dir, name)) as [string, string]
  const { run } = await start(t, { listen: `"unix:${front}"`, admin: `"unix:${back}"` })
  const killed = run()
  t.match(await listening(killed), { proxy: `unix:${front}`, admin: `unix:${back}` })
  for (const path of [front, back]) t.equal((await stat(path)).mode & 0o777, 0o600)
  t.equal((await get(`unix:${front}`, '/tools/mcp')).status, 200)
  t.equal((await get(`unix:${back}`, '/healthz')).status, 200)

  const second = run()
  const { code, stderr } = await second.ended
  t.equal(code, 1, 'a socket that somebody answers on is not taken over')
  t.match(stderr, 'is in use')
  t.equal((await get(`unix:${front}`, '/tools/mcp')).status, 200)

  killed.child.kill('SIGKILL')
  await killed.ended
  t.resolves(access(front), 'it is still there')
  const again = run()
  await listening(again)
  t.equal((await get(`unix:${front}`, '/tools/mcp')).status, 200)
  again.child.kill('SIGINT')
  t.equal((await again.ended).code, 0)
  await t.rejects(access(front), 'a proper end takes it away')
})

t.test('a second signal does not wait for calls under way', async (t) => {
  const { run, upstream } = await start(t, { answer: () => {} })
  const cli = run()
  const { proxy } = await listening(cli)
  const socket = await connectTo(proxy)
  socket.on('error', () => {}).write('GET /tools/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n')
  while (upstream.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
  cli.child.kill('SIGTERM')
  await cli.line((line) => line.includes('"event":"stopping"'))
  t.equal(cli.child.exitCode, null, 'the call keeps it')
  cli.child.kill('SIGTERM')
  const [code] = await once(cli.child, 'exit') as [number]
  t.equal(code, 130)
  socket.destroy()
})

t.test('row 46: faults that nobody caught are logged without what they quote, and do not end it', async (t) => {
  const faults = '--import=data:text/javascript,' + encodeURIComponent(`process.on('SIGUSR2', () => {
    setImmediate(() => { throw Object.assign(new Error('it was ' + process.env.TOKEN, { cause: process.env.TOKEN }), { token: process.env.TOKEN }) })
    setImmediate(() => { Promise.reject(process.env.TOKEN) })
  })`)
  const { run, token } = await start(t, { nodeArgs: [faults] })
  const canaries = new Canaries()
  canaries.add('token', token)
  const cli = run()
  const { admin } = await listening(cli)
  cli.child.kill('SIGUSR2')
  await cli.line((line) => line.includes('"event":"internal_error"') && line.includes('Error at'))
  await cli.line((line) => line.includes('"event":"internal_error"') && line.includes('no Error'))
  t.equal((await get(admin, '/healthz')).status, 200)
  cli.child.kill('SIGTERM')
  const { code, stdout, stderr } = await cli.ended
  t.equal(code, 0)
  t.same(canaries.findIn(stdout + stderr), [])
})
