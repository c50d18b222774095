import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startCli, type CliProcess } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'

const MOST = 4_000
const SESSIONS = Array.from({ length: MOST }, (_none, i) => ({
  id: `ses_${String(i).padStart(16, '0')}`, principal: 'alice', agent: 'planner', tools: { allow: ['x'.repeat(200)], deny: [] }, expires_at: null, source: 'api',
}))
const CREDENTIALS = SESSIONS.map(({ id }) => ({ principal: id, upstream: 'tools', type: 'api_token', state: 'valid', error: 'x'.repeat(200) }))

/** A verb of a sidecar with many sessions and credentials: about 1.3 MB of JSON each, which no pipe has room for. */
async function start (t: Test, ...args: string[]): Promise<CliProcess> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url as string, 'http://localhost')
    const after = Number(searchParams.get('cursor') ?? 0)
    const list = { sessions: SESSIONS.slice(after, after + 1_000), credentials: CREDENTIALS.slice(after, after + 1_000), next_cursor: after + 1_000 < MOST ? String(after + 1_000) : null }
    response.end(JSON.stringify(pathname === '/v1/upstreams' ? { proxy: 'http://127.0.0.1:1', header: 'x', upstreams: [] } : list))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return startCli(t, [...args, '--admin-url', `http://127.0.0.1:${(server.address() as AddressInfo).port}`], { env: { MCP_VALET_ADMIN_TOKEN: mintToken() } })
}

/** Reads the beginning and nothing more, until the process has ended or longer than it waits for anything else. */
async function readNothing ({ child }: CliProcess, then: () => void = () => {}): Promise<void> {
  const exited = new Promise<void>((resolve) => { child.once('exit', () => resolve()) })
  await Promise.race([exited, new Promise<void>((resolve) => { child.stdout.once('data', () => { child.stdout.pause(); resolve() }) })])
  then()
  await Promise.race([exited, sleep(5_000)])
}

t.test('who reads slowly gets all of it', async (t) => {
  const cli = await start(t, 'session', 'list', '--json')
  await readNothing(cli)
  cli.child.stdout.resume()
  const { code, stdout, stderr } = await cli.ended
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.equal(JSON.parse(stdout).sessions.length, MOST)
})

t.test('who stops reading ends it quietly, on either stream', async (t) => {
  const list = await start(t, 'session', 'list', '--json')
  list.child.stdout.once('data', () => list.child.stdout.destroy())
  t.match(await list.ended, { code: 0, signal: null, stderr: '' })
  const unreachable = startCli(t, ['session', 'list', '--admin-url', 'http://127.0.0.1:1'], { env: { MCP_VALET_ADMIN_TOKEN: mintToken() } })
  unreachable.child.stderr.destroy()
  t.match(await unreachable.ended, { code: 3, signal: null, stdout: '' })
})

t.test('who is told to stop waits for no reader', async (t) => {
  const cli = await start(t, 'status', '--watch', '--json')
  await readNothing(cli, () => cli.child.kill('SIGTERM'))
  t.equal(cli.child.exitCode, 0)
})
