import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { listen, shut } from '../../src/demo/http.js'

/**
 * Runs `@modelcontextprotocol/server-everything` as a process of its own over Streamable HTTP; it is killed when the test
 * ends. It listens on all interfaces, which it cannot be talked out of, and checks no token.
 * @returns its origin, on loopback
 */
export async function startEverything (t: Test): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const origin = await tryEverything(t)
    if (origin !== undefined) return origin
    // Somebody else may have taken the port between our looking and its listening.
    if (attempt === 3) throw new Error('server-everything does not start')
  }
}

async function tryEverything (t: Test): Promise<string | undefined> {
  const port = await freePort()
  const script = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js')
  const child = spawn(process.execPath, [script, 'streamableHttp'], { env: { PATH: process.env.PATH, PORT: String(port) }, stdio: 'ignore' })
  const gone = once(child, 'exit')
  t.teardown(async () => {
    if (child.exitCode === null) child.kill('SIGKILL')
    await gone
  })
  while (child.exitCode === null) {
    if (await accepts(port)) return `http://127.0.0.1:${port}`
    await sleep(50)
  }
  return undefined
}

async function freePort (): Promise<number> {
  const server = createServer()
  const { port } = new URL(await listen(server, { host: '127.0.0.1', port: 0 }))
  await shut(server)
  return Number(port)
}

async function accepts (port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}
