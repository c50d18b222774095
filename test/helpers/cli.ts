import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { TYPESCRIPT } from './typescript.js'
import { Watch } from './watch.js'

const CLI = fileURLToPath(new URL('../../src/cli.ts', import.meta.url))

export interface Ended { readonly code: number | null, readonly signal: NodeJS.Signals | null, readonly stdout: string, readonly stderr: string }

export interface CliOptions {
  /** The whole environment beside PATH and what the test runner needs. */
  readonly env?: Record<string, string>
  readonly cwd?: string
  /** A command that runs it, such as `unshare`. */
  readonly under?: readonly string[]
  /** Further arguments for node itself. */
  readonly nodeArgs?: readonly string[]
}

/** A process of the command itself. */
export interface CliProcess {
  readonly child: ChildProcessWithoutNullStreams
  /** Resolves with the first line of standard output that fits. */
  line (fits: (line: string) => boolean): Promise<string>
  /** Everything that it wrote so far. */
  output (): { stdout: string, stderr: string }
  readonly ended: Promise<Ended>
}

/** The arguments of node under which the test runs, so that coverage sees the process too. */
export const NODE_ARGS: readonly string[] = [TYPESCRIPT, ...process.execArgv.filter((argument) => !/@tapjs\/(?:mock|typescript)|typescript\.mjs/.test(argument))]

/**
 * Runs `mcp-valet` as a process of its own, from its source.
 * Killed when the test ends, if it has not ended by then.
 */
export function startCli (t: Test, args: readonly string[], options: CliOptions = {}): CliProcess {
  const runner = Object.entries(process.env).filter(([name]) => /^(PATH|HOME|TAP_|_TAPJS_|NODE_V8_COVERAGE|NODE_OPTIONS)/.test(name))
  const [command, ...words] = [...options.under ?? [], process.execPath, ...NODE_ARGS, ...options.nodeArgs ?? [], CLI, ...args] as [string, ...string[]]
  const child = spawn(command, words, {
    cwd: options.cwd ?? process.cwd(), env: { ...Object.fromEntries(runner), ...options.env },
  })
  const lines: string[] = []
  const watch = new Watch<string>()
  let [stdout, stderr, rest] = ['', '', '']
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop() as string
    for (const line of parts) {
      lines.push(line)
      watch.tell(line)
    }
  })
  child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })
  return { child, line: async (fits) => await watch.until(fits, lines), output: () => ({ stdout, stderr }), ended }
}

/** Runs it to its end. */
export async function runCli (t: Test, args: readonly string[], options?: CliOptions): Promise<Ended> {
  return await startCli(t, args, options).ended
}

/** The event `listening` of a `serve`. */
export async function listening (cli: CliProcess): Promise<{ proxy: string, admin: string }> {
  const line = await Promise.race([cli.line((line) => line.includes('"event":"listening"')), cli.ended.then(({ stderr }) => { throw new Error(`it ended: ${stderr}`) })])
  return JSON.parse(line) as { proxy: string, admin: string }
}
