import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Watch } from '../helpers/watch.js'

// Half a dozen Pythons that start at once on a busy machine take their time.
const PATIENCE_MS = 90_000

/** A process that is spoken to by lines, and stopped with whoever started it. */
export class Program {
  readonly lines: string[] = []
  readonly #child: ChildProcessWithoutNullStreams
  readonly #watch = new Watch<string>(PATIENCE_MS)
  readonly #ended: Promise<number | string>
  #stderr = ''

  /** @param env its whole environment, beside what any program needs */
  constructor (command: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    const { PATH = '', HOME = '' } = process.env
    this.#child = spawn(command, args, { env: { PATH, HOME, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1', ...env } })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.lines.push(line)
      this.#watch.tell(line)
    })
    this.#child.stderr.on('data', (chunk: Buffer) => { this.#stderr += chunk.toString() })
    // A program that dies takes what is said to it with it; that it died is told by `line` and `end`.
    this.#child.stdin.on('error', () => {})
    this.#ended = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message))
      this.#child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
    })
  }

  /** Everything that it wrote. */
  get output (): string { return `${this.lines.join('\n')}\n${this.#stderr}` }

  get stderr (): string { return this.#stderr }

  say (line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  /** The first line from the line with this number on that fits. @throws if it ends before, or writes none in 90 s or whatever it is given */
  async line (fits: (line: string) => boolean, from = 0, patience?: number): Promise<string> {
    const ended = this.#ended.then((code) => { throw new Error(`it ended with ${code}`) })
    return await Promise.race([this.#watch.until(fits, this.lines.slice(from), patience), ended])
  }

  /** Tells it that there is no more to do. @returns its exit code @throws if it has not ended in 60 s */
  async end (): Promise<number | string> {
    this.#child.stdin.end()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => { timer = setTimeout(() => reject(new Error('it did not end')), 60_000) })
    return await Promise.race([this.#ended, late]).finally(() => clearTimeout(timer))
  }

  /** Asks it to stop, and makes it. */
  async stop (): Promise<void> {
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await this.#ended
    clearTimeout(timer)
  }
}
