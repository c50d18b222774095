import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'

const isThere = ['redis-server', 'redis-cli'].every((program) => spawnSync(program, ['--version']).status === 0)

/** Why the tests with a real Redis are skipped; false where they run, or have to (`MCP_VALET_TEST_REDIS=required`). */
export const skip: string | false = isThere || process.env.MCP_VALET_TEST_REDIS === 'required'
  ? false
  : 'there is no redis-server and redis-cli here: install them, as with apt-get install redis-server'

if (skip !== false) process.stderr.write(`SKIPPED, what Redis has to show: ${skip}\n`)

export interface RedisOptions {
  /** On a port of 127.0.0.1 in place of a socket. */
  readonly port?: number
  /** Further arguments: `--requirepass`, `x`. */
  readonly args?: readonly string[]
  /** Whether it is a Sentinel; its config is then in `config`. */
  readonly sentinel?: string
}

export interface RedisServer {
  readonly url: string
  readonly port: number
  readonly socket: string
  /** Where it keeps its data. */
  readonly folder: string
  cli (...args: readonly string[]): Promise<string>
  signal (signal: NodeJS.Signals): void
  /** Ends it; `start` starts it again where it was. */
  stop (): Promise<void>
  start (): Promise<void>
}

/** A redis-server of the test's own, in a folder of its own, which ends with the test. */
export async function startRedis (t: Test, { port = 0, args = [], sentinel }: RedisOptions = {}): Promise<RedisServer> {
  // Not in t.testdir(): the path of a socket has to be short.
  const folder = mkdtempSync(join(tmpdir(), 'valet-redis-'))
  const socket = join(folder, 's')
  const place = port === 0 ? { path: socket } : { host: '127.0.0.1', port }
  const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--daemonize', 'no', '--loglevel', 'warning']
  const own = sentinel === undefined
    ? [...common, ...port === 0 ? ['--unixsocket', socket] : [], '--save', '', ...args]
    : [sentinel, '--sentinel', ...common.slice(0, 6)]
  let child: ChildProcess | undefined
  let ended = Promise.resolve()

  async function start (): Promise<void> {
    let output = ''
    const server = child = spawn('redis-server', own, { stdio: ['ignore', 'pipe', 'inherit'] })
    server.stdout.on('data', (chunk: Buffer) => { output += chunk.toString() })
    ended = new Promise((resolve, reject) => {
      server.once('close', () => resolve())
      server.once('error', reject)
    })
    ended.catch(() => {})
    for (let tries = 0; !await answers(place); tries++) {
      if (tries > 300 || server.exitCode !== null) throw new Error(`redis-server does not start: ${output}`)
      await sleep(20)
    }
  }

  async function stop (): Promise<void> {
    child?.kill('SIGKILL')
    await ended
  }

  t.teardown(async () => {
    await stop()
    rmSync(folder, { recursive: true, force: true })
  })
  await start()
  return {
    url: port === 0 ? `unix:${socket}` : `redis://127.0.0.1:${port}`,
    port,
    socket,
    folder,
    cli: async (...words) => (await promisify(execFile)('redis-cli', [...port === 0 ? ['-s', socket] : ['-h', '127.0.0.1', '-p', String(port)], ...words])).stdout.trim(),
    signal: (signal) => { child?.kill(signal) },
    stop,
    start,
  }
}

/** A port that nobody listens on at this moment. */
export async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Whether somebody there speaks: an error is an answer, too. */
async function answers (place: { path: string } | { host: string, port: number }): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(place as { path: string }, () => { socket.write('PING\r\n') })
    socket.once('data', () => { resolve(true); socket.destroy() })
    socket.once('error', () => resolve(false))
    socket.setTimeout(1_000, () => { resolve(false); socket.destroy() })
  })
}
