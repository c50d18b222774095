import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { total } from './series.js'
import { start, until, type Child } from '../lib/children.js'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const PROBE = new URL('./probe.mjs', import.meta.url).href
const ADMIN_PATIENCE = 15_000

export interface Heap { readonly used: number, readonly total: number, readonly external: number, readonly live?: number, readonly loopDelayMs: number }
/** Memory in MiB. */
export interface Stand { readonly rss: number, readonly anon: number, readonly descriptors: number, readonly threads: number }

/** The process under test: what users run, on a store on disk. */
export interface Sidecar {
  readonly child: Child
  readonly proxyUrl: string
  /** Asks the admin API, below /v1. @throws an Error with the answer where it is no success */
  ask (method: string, path: string, body?: object): Promise<Record<string, unknown>>
  /** The exposition of its metrics. */
  metrics (): Promise<string>
  stand (): Stand
  heap (): Heap | undefined
  readonly alive: boolean
  /** Whether it goes on with a config that has changed when it is sent SIGHUP, which ends a process that does not listen for it. */
  readonly reloads: boolean
  /** Writes the config anew and sends SIGHUP. @returns whether it says of that one what is expected */
  reload (config: object, expected: 'ok' | 'refused'): Promise<boolean>
}

export async function startSidecar (dir: string, config: object, env: Record<string, string>): Promise<Sidecar> {
  const file = join(dir, 'valet.yaml')
  const heapFile = join(dir, 'heap.json')
  writeFileSync(file, stringify(config))
  const child = start(process.execPath, ['--import', PROBE, CLI, 'serve', '-c', file], join(dir, 'sidecar.log'), { ...env, SOAK_PROBE: heapFile }, true)
  const line = await until(child, () => readFileSync(child.log, 'utf8').split('\n').find((text) => text.includes('"event":"listening"')))
  const { proxy, admin } = JSON.parse(line) as { proxy: string, admin: string }

  const metrics = async (): Promise<string> => await (await fetch(`${admin}/metrics`, { signal: AbortSignal.timeout(ADMIN_PATIENCE) })).text()
  const status = (field: string): string => new RegExp(`^${field}:\\s+(\\S+)`, 'm').exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? ''
  const reloadsSoFar = async (outcome: string): Promise<number> => total(await metrics(), 'mcp_valet_config_reloads_total', `outcome="${outcome}"`)

  return {
    child,
    proxyUrl: proxy,
    async ask (method, path, body) {
      const answer = await fetch(`${admin}/v1${path}`, {
        method,
        signal: AbortSignal.timeout(ADMIN_PATIENCE),
        headers: { authorization: `Bearer ${env.VALET_ADMIN_TOKEN}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${method} ${path}: HTTP ${answer.status} ${text.slice(0, 200)}`)
      return text === '' ? {} : JSON.parse(text) as Record<string, unknown>
    },
    metrics,
    stand: () => ({
      rss: Number(status('VmRSS')) / 1024,
      anon: Number(status('RssAnon')) / 1024,
      descriptors: readdirSync(`/proc/${child.pid}/fd`).length,
      threads: Number(status('Threads')),
    }),
    heap () {
      try {
        return JSON.parse(readFileSync(heapFile, 'utf8')) as Heap
      } catch {
        return undefined
      }
    },
    get alive () { return child.process.exitCode === null && child.process.signalCode === null },
    // The mask of signals that a process catches; SIGHUP is the first.
    get reloads () { return (Number.parseInt(status('SigCgt').slice(-1), 16) & 1) === 1 },
    async reload (next, expected) {
      const before = await reloadsSoFar(expected)
      writeFileSync(`${file}.new`, stringify(next))
      renameSync(`${file}.new`, file)
      child.process.kill('SIGHUP')
      for (const end = Date.now() + ADMIN_PATIENCE; Date.now() < end; await sleep(100)) if (await reloadsSoFar(expected) > before) return true
      return false
    },
  }
}
