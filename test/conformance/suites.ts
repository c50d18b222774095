import { execFile, spawn } from 'node:child_process'
import { readdir, readFile, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Check } from './compare.js'

/** What the suites need is newer than what this project asks for. */
const NODE = 'node@24.21.0'
const PACKAGE = '@modelcontextprotocol/conformance'
/** Milliseconds that one scenario may take; the suites give up sooner. */
const LONGEST = 90_000

/** Of the official suite the released version, and the one that knows 2026-07-28. */
export const RUNS = [
  { spec: '2025-11-25', release: '0.1.16' },
  { spec: '2025-11-25', release: '0.2.0-alpha.12' },
  { spec: '2026-07-28', release: '0.2.0-alpha.12' },
] as const

/** One release of the suite, ready to run. */
export interface Suite {
  readonly release: string
  /** Its scenarios for servers that apply to a version of the specification. */
  scenarios (spec: string): Promise<string[]>
  /**
   * Runs one of them, in a process of its own.
   * @param folder where it leaves its files
   */
  run (scenario: string, spec: string, url: string, folder: string): Promise<Check[]>
}

/**
 * Fetches the suite and the Node that it needs, at exactly these versions, into npm's cache: neither is a dependency of this
 * project, whose users need no such Node.
 * @throws what npx said
 */
export async function fetchSuite (release: string): Promise<Suite> {
  const node = await fetched(NODE, 'node -p process.execPath')
  const main = await realpath(await fetched(`${PACKAGE}@${release}`, 'command -v conformance'))
  const list = promisify(execFile)

  return {
    release,
    async scenarios (spec) {
      const { stdout } = await list(node, [main, 'list', '--server', '--spec-version', spec])
      const names = [...stdout.matchAll(/^ +- (\S+)/gm)].map(([, name]) => name as string)
      if (names.length === 0) throw new Error(`the suite ${release} names no scenario for ${spec}: ${stdout}`)
      return names
    },
    async run (scenario, spec, url, folder) {
      const said = await output(node, [main, 'server', '--url', url, '--scenario', scenario, '--spec-version', spec, '-o', folder])
      return await checksIn(folder).catch(() => [{ id: 'suite-gave-no-result', status: 'FAILURE', errorMessage: said.trim().slice(-500) }])
    },
  }
}

/** @throws where the suite has left none, or was killed while it wrote them */
async function checksIn (folder: string): Promise<Check[]> {
  const [results] = await readdir(folder)
  return JSON.parse(await readFile(join(folder, results ?? '', 'checks.json'), 'utf8')) as Check[]
}

async function fetched (what: string, command: string): Promise<string> {
  const { stdout } = await promisify(execFile)('npx', ['--yes', '-p', what, '-c', command], { cwd: tmpdir() })
  return stdout.trim()
}

/** What a process wrote, however it ended. */
async function output (command: string, args: string[]): Promise<string> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: tmpdir(), stdio: ['ignore', 'pipe', 'pipe'], timeout: LONGEST, killSignal: 'SIGKILL' })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { said += String(chunk) })
    child.on('error', reject)
    child.on('close', () => resolve(said))
  })
}
