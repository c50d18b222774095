import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** What users run; `npm test` has just built it. From the sources each start would take seconds. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

/** A line of its log. */
export interface Line { readonly event: string, readonly outcome?: string, readonly proxy?: string, readonly admin?: string, readonly [field: string]: unknown }

/** `mcp-valet serve`, as a process of its own. */
export interface Serving {
  readonly child: ChildProcess
  readonly proxy: string
  readonly admin: string
  /** Every line of its log so far. */
  readonly lines: Line[]
  /** Resolves with the first line of the log, past or to come, that fits. */
  until (fits: (line: Line) => boolean): Promise<Line>
  /** Everything that it has written. */
  output (): string
  /** SIGKILL, and the end of it. */
  kill (): Promise<void>
}

/** Runs `mcp-valet serve -c config` until the test ends. Resolves once it listens; rejects with what it said where it ends before. */
export async function serveProcess (t: Test, config: string, env: NodeJS.ProcessEnv): Promise<Serving> {
  const child = spawn(process.execPath, [CLI, 'serve', '-c', config], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  const lines: Line[] = []
  const wakers = new Set<() => void>()
  let text = ''
  child.stderr.on('data', (chunk: Buffer) => { text += String(chunk) })
  createInterface({ input: child.stdout }).on('line', (line) => {
    text += line + '\n'
    if (line.startsWith('{')) lines.push(JSON.parse(line) as Line)
    for (const wake of wakers) wake()
    wakers.clear()
  })
  const until = async (fits: (line: Line) => boolean): Promise<Line> => {
    for (;;) {
      const line = lines.find(fits)
      if (line !== undefined) return line
      if (child.exitCode !== null) throw new Error(`it has ended: ${text}`)
      await Promise.race([new Promise<void>((resolve) => { wakers.add(resolve) }), ended])
    }
  }
  const { proxy, admin } = await until(({ event }) => event === 'listening')
  return { child, proxy: proxy as string, admin: admin as string, lines, until, output: () => text, kill }
}
