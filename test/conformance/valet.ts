import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

export interface Valet {
  readonly proxy: string
  /** What its metrics have counted so far. */
  counts (): Promise<Counts>
  /** Lines of its log from `warn` upwards. */
  readonly complaints: string[]
  close (): Promise<void>
}

export interface Counts {
  /** Refreshes that gave a new token. */
  readonly refreshes: number
  /** Refreshes that did not. */
  readonly failed: number
  /** Calls that were refused with a 401, and sent again with a new token. */
  readonly replays: number
}

/**
 * Runs mcp-valet as `npm run build` made it, in a process of its own.
 * @throws what it said, where it ends before it listens
 */
export async function startValet (config: string, env: Record<string, string>): Promise<Valet> {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-valet-conformance-'))
  const file = join(folder, 'valet.yaml')
  await writeFile(file, config, { mode: 0o600 })
  const child = spawn(process.execPath, [CLI, 'serve', '-c', file], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit')
  const complaints: string[] = []
  child.stderr.on('data', (chunk: Buffer) => { complaints.push(String(chunk).trim()) })
  const close = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  }

  const listening = new Promise<{ proxy: string, admin: string }>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry = JSON.parse(line) as { level: string | number, event: string, proxy: string, admin: string }
      if (entry.event === 'listening') resolve(entry)
      if (['warn', 'error', 'fatal'].includes(String(entry.level))) complaints.push(line)
    })
  })
  const early = ended.then(() => { throw new Error(`mcp-valet has ended: ${complaints.join('\n')}`) })
  early.catch(() => {})
  try {
    const { proxy, admin } = await Promise.race([listening, early])
    return { proxy, complaints, close, counts: async () => countsIn(await (await fetch(`${admin}/metrics`)).text()) }
  } catch (error) {
    await close()
    throw error
  }
}

function countsIn (metrics: string): Counts {
  const sum = (series: RegExp): number => metrics.split('\n').filter((line) => series.test(line)).reduce((all, line) => all + Number(line.split(' ').at(-1)), 0)
  return {
    refreshes: sum(/^mcp_valet_token_refresh_total\{.*outcome="ok"/),
    failed: sum(/^mcp_valet_token_refresh_total\{(?!.*outcome="ok")/),
    replays: sum(/^mcp_valet_replays_total\{.*outcome="mended"/),
  }
}
