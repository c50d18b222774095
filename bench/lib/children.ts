/** Starts the processes of the benchmark and ends them, whatever happens: those, and no others. */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

const running = new Set<ChildProcess>()

export interface Child {
  process: ChildProcess
  pid: number
  /** Both stdout and stderr go to this file: a pipe would have to be emptied by somebody, in the middle of a measurement. */
  log: string
  stop (): Promise<void>
}

/**
 * Starts a command with nothing of our environment but PATH and what `env` says.
 * @param apart in a process group of its own, which a Ctrl-C at the terminal does not reach
 */
export function start (command: string, args: string[], log: string, env: Record<string, string> = {}, apart = false): Child {
  const fd = openSync(log, 'w', 0o600)
  try {
    return register(spawn(command, args, { stdio: ['ignore', fd, fd], env: environment(env), detached: apart }), log)
  } finally {
    closeSync(fd)
  }
}

/** Starts a TypeScript module of the benchmark with a channel to it, through the loader that we run under ourselves. */
export function startModule (module: URL, log: string, env: Record<string, string> = {}): Child {
  const fd = openSync(log, 'w', 0o600)
  try {
    const stdio = ['ignore', fd, fd, 'ipc'] as ['ignore', number, number, 'ipc']
    return register(fork(module, { stdio, serialization: 'advanced', env: environment(env) }), log)
  } finally {
    closeSync(fd)
  }
}

/** Ends every process that is still there. */
export async function stopAll (): Promise<void> {
  await Promise.all([...running].map(stop))
}

/** For `process.on('exit')`, where nothing can be awaited. SIGTERM: a killed nginx master would leave its worker behind. */
export function signalAll (): void {
  for (const child of running) child.kill('SIGTERM')
}

/** Waits until `ready` gives a value; throws with the end of the child's log if it dies, or isn't ready in 15 s. */
export async function until<T> (child: Child, ready: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const end = Date.now() + 15_000; Date.now() < end; await sleep(20)) {
    const { exitCode, signalCode } = child.process
    if (exitCode !== null || signalCode !== null) throw new Error(`exited with ${exitCode ?? signalCode}: ${tail(child.log)}`)
    const value = await ready()
    if (value !== undefined) return value
  }
  throw new Error(`not ready in 15 s: ${tail(child.log)}`)
}

/** True once something accepts connections there. */
export function accepts (port: number): Promise<true | undefined> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => { resolve(undefined) })
  })
}

/** A port that was free a moment ago, for proxies that cannot choose one and say which. */
export function freePort (): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => { resolve(port) })
    })
  })
}

function environment (env: Record<string, string>): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', NODE_ENV: 'production', ...env }
}

function register (process: ChildProcess, log: string): Child {
  running.add(process)
  process.once('exit', () => { running.delete(process) })
  process.once('error', () => { running.delete(process) })
  return { process, pid: process.pid ?? 0, log, stop: () => stop(process) }
}

async function stop (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const gone = new Promise(resolve => { child.once('exit', resolve) })
  child.kill('SIGTERM')
  const patience = setTimeout(() => { child.kill('SIGKILL') }, 5000)
  await gone
  clearTimeout(patience)
}

function tail (log: string): string {
  return readFileSync(log, 'utf8').trim().split('\n').slice(-3).join(' | ').slice(-600) || '(no output)'
}
