import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { PeerCall, PeerStore } from './state-peer.js'
import { NODE_ARGS } from './cli.js'
import { Watch } from './watch.js'

const PEER = fileURLToPath(new URL('state-peer.ts', import.meta.url))
/** A process of its own that has opened the store. */
export interface StateProcess {
  readonly child: ChildProcess
  /** @throws what the store has said there */
  ask (call: PeerCall): Promise<unknown>
  /** What it was told of others' changes; null is undefined, for any. */
  readonly told: Array<string | null>
  /** Resolves with the first that fits. */
  hears (fits: (key: string | null) => boolean): Promise<string | null>
  signal (signal: NodeJS.Signals): void
}

/** Killed when the test ends. @param within the command that runs it, if any. @throws what the process wrote where the store does not open */
export async function startStateProcess (t: Test, store: PeerStore, within: readonly string[] = []): Promise<StateProcess> {
  const [execPath, ...execArgv] = [...within, process.execPath, ...NODE_ARGS]
  const child = fork(PEER, [JSON.stringify(store)], { execPath: execPath as string, execArgv, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
  const ended = new Promise<void>((resolve) => { child.once('close', () => resolve()) })
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  const told: Array<string | null> = []
  const watch = new Watch<string | null>()
  const waiting = new Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>()
  const ready = withResolvers()
  child.on('message', (message: { ready?: true, id?: number, value?: unknown, error?: string, told?: string | null }) => {
    if (message.ready === true) ready.resolve()
    if (message.told !== undefined) {
      told.push(message.told)
      watch.tell(message.told)
    }
    if (message.id === undefined) return
    const { resolve, reject } = waiting.get(message.id) as NonNullable<ReturnType<typeof waiting.get>>
    if (message.error === undefined) resolve(message.value)
    else reject(new Error(message.error))
  })
  void ended.then(() => ready.reject(new Error(`it ended: ${stderr}`)))
  await ready.promise
  let ids = 0
  return {
    child,
    ask: async (call) => await new Promise((resolve, reject) => {
      const id = ids++
      waiting.set(id, { resolve, reject })
      child.send({ id, call })
      void ended.then(() => reject(new Error(`it ended: ${stderr}`)))
    }),
    told,
    hears: async (fits) => await watch.until(fits, told),
    signal: (signal) => { child.kill(signal) },
  }
}

function withResolvers (): { promise: Promise<void>, resolve: () => void, reject: (error: Error) => void } {
  let resolve = (): void => {}
  let reject = (_error: Error): void => {}
  const promise = new Promise<void>((...both) => { [resolve, reject] = both })
  return { promise, resolve, reject }
}
