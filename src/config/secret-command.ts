import { execFile } from 'node:child_process'
import { decodeSecret, MAX_SECRET_BYTES, SecretRefError } from './secret-error.js'

/**
 * Runs a program without a shell and takes what it prints on stdout, at most 64 KiB. Neither its output nor its
 * arguments get into an error, as either may hold a secret.
 * @throws {SecretRefError}
 */
export async function readSecretCommand (
  argv: readonly string[], env: NodeJS.ProcessEnv, timeoutMs: number = 10_000
): Promise<string> {
  const [program = '', ...args] = argv
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const refuse = (error: Parameters<typeof whatHappened>[0]) => {
      reject(new SecretRefError(`command ${program} ${whatHappened(error, timeoutMs)}`))
    }
    const options = { env, timeout: timeoutMs, maxBuffer: MAX_SECRET_BYTES, killSignal: 'SIGKILL', encoding: 'buffer', windowsHide: true } as const
    try {
      const child = execFile(program, args, options, (error, stdout) => error === null ? resolve(stdout) : refuse(error))
      // A program that asks for a password on stdin gets end-of-file at once instead of the whole time-out.
      child.stdin?.on('error', () => {})
      child.stdin?.end()
    } catch (error) {
      // Node throws some failures at once (E2BIG, a NUL in the environment), and their messages hold the values.
      refuse(error as { code?: unknown })
    }
  })
  return decodeSecret(bytes, `the output of command ${program}`)
}

function whatHappened (error: { code?: unknown, killed?: boolean, signal?: unknown }, timeoutMs: number): string {
  if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') return 'printed more than 64 KiB'
  if (error.killed === true) return `did not end within ${timeoutMs / 1000} s`
  if (typeof error.code === 'number') return `failed with exit code ${error.code}`
  if (typeof error.signal === 'string') return `was ended by ${error.signal}`
  return error.code === 'ENOENT' ? 'was not found' : `could not be run (${String(error.code)})`
}
