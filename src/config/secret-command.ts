import { spawn, type ChildProcess } from 'node:child_process'
import { decodeSecret, MAX_SECRET_BYTES, SecretRefError } from './secret-error.js'

/** A group of processes can be ended with whatever the program has started; Windows has none. */
const GROUPED = process.platform !== 'win32'

/**
 * Runs a program without a shell and takes what it prints on stdout, at most 64 KiB. Neither its output nor its
 * arguments get into an error, as either may hold a secret, and what it writes to stderr goes nowhere.
 *
 * A program that takes too long or prints too much is ended together with the programs it has started, so that none is
 * left behind by each attempt.
 * @throws {SecretRefError}
 */
export async function readSecretCommand (
  argv: readonly string[], env: NodeJS.ProcessEnv, timeoutMs: number = 10_000
): Promise<string> {
  const [program = '', ...args] = argv
  try {
    // Without stdin, a program that asks for a password gets end-of-file at once instead of the whole time-out.
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'ignore'], detached: GROUPED, windowsHide: true })
    return decodeSecret(await outputOf(child, timeoutMs), `the output of command ${program}`)
  } catch (error) {
    if (error instanceof SecretRefError) throw error
    // Node's own messages may hold the values: of a variable with a NUL in it, of arguments that are too long.
    throw new SecretRefError(`command ${program} ${error instanceof Unfit ? error.message : notRun(error)}`)
  }
}

/** What became of the program, in known words. */
class Unfit extends Error {}

function outputOf (child: ChildProcess, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const giveUp = (why: string): void => {
      end(child)
      reject(new Unfit(why))
    }
    const timer = setTimeout(giveUp, timeoutMs, `did not end within ${timeoutMs / 1000} s`)
    child.stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_SECRET_BYTES) giveUp('printed more than 64 KiB')
      else chunks.push(chunk)
    })
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (code === 0) resolve(Buffer.concat(chunks))
      else reject(new Unfit(code === null ? `was ended by ${String(signal)}` : `failed with exit code ${code}`))
    })
  })
}

function end (child: ChildProcess): void {
  child.stdout?.destroy()
  try {
    if (GROUPED) process.kill(-(child.pid as number), 'SIGKILL')
    else child.kill('SIGKILL')
  } catch {
    // It has ended by itself a moment ago.
  }
}

function notRun (error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
  return code === 'ENOENT' ? 'was not found' : `could not be run (${code})`
}
