import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

/**
 * The Python of a virtual environment that has exactly the packages of a file in test/agents. It is made once for each
 * content of that file, in the user's cache, and used again.
 * @returns the path of its interpreter
 * @throws {Error} where there is no Python ≥3.11 with venv, or PyPI cannot be reached
 */
export async function preparePython (requirements: string, progress: (line: string) => void): Promise<string> {
  const file = fileURLToPath(new URL(requirements, import.meta.url))
  const { stdout: version } = await run('python3', ['-c', 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or later is needed"; print(sys.version)'])
  const hash = createHash('sha256').update(version).update(await readFile(file)).digest('hex').slice(0, 16)
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'mcp-valet-interop')
  const folder = join(cache, hash)
  const python = join(folder, 'bin', 'python')
  const done = join(folder, 'complete')
  if (existsSync(done)) return python

  progress(`installing test/agents/${requirements} into ${folder}`)
  await mkdir(cache, { recursive: true })
  await rm(folder, { recursive: true, force: true })
  await run('python3', ['-m', 'venv', folder])
  await run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', file], { maxBuffer: 1 << 26, timeout: 600_000 })
  const { stdout } = await run(python, ['-m', 'pip', 'check'])
  if (!stdout.startsWith('No broken requirements')) throw new Error(stdout)
  // Without their bytecode the first run of each program would take seconds longer than the next.
  await run(python, ['-m', 'compileall', '-q', '-j', '2', join(folder, 'lib')], { maxBuffer: 1 << 26 }).catch(() => {})
  await writeFile(done, '')
  return python
}
