import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { mintToken } from './mint.js'
import { CLI } from './serving.js'
import { TYPESCRIPT } from './typescript.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface Block { readonly kind: string, readonly text: string }

/** The code blocks of a page, in their order. */
export function blocksOf (page: string): Block[] {
  return [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind: kind as string, text: text as string }))
}

/**
 * One shell, in which each block of a page runs as a reader would run it; what each printed is told apart.
 * @param cwd the folder of the project unless given
 */
export async function runShell (t: Test, scripts: readonly string[], env: Record<string, string>, cwd = root): Promise<string[]> {
  const mark = `--- ${mintToken()} ---`
  // `npx mcp-valet` is the command from this project's source; as it was built where the page is about what was installed.
  const command = cwd === root ? `"${TYPESCRIPT}" "${join(root, 'src/cli.ts')}"` : `"${CLI}"`
  const npx = `npx () { shift; "${process.execPath}" ${command} "$@"; }`
  const shell = spawn('bash', ['-euo', 'pipefail', '-c', [npx, ...scripts].join(`\necho '${mark}'\n`)], {
    cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  })
  t.teardown(() => { shell.kill('SIGKILL') })
  let [stdout, stderr] = ['', '']
  shell.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString() })
  shell.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString() })
  const code = await new Promise((resolve) => shell.on('close', resolve))
  t.equal(code, 0, stdout + stderr)
  return stdout.split(`${mark}\n`).slice(1)
}
