import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'

export interface AskPersonOptions {
  readonly input: Readable
  readonly output: Writable
  readonly stop: AbortSignal
}

/** Puts a question at the terminal. @returns true for y or yes, false for anything else, the end of the input included */
export async function askPerson (question: string, { input, output, stop }: AskPersonOptions): Promise<boolean> {
  const lines = createInterface({ input, output, terminal: false })
  const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
  try {
    const answer = await Promise.race([lines.question(`${question} [y/N] `, { signal: stop }).catch(() => ''), ended])
    return /^\s*y(es)?\s*$/i.test(answer)
  } finally {
    lines.close()
  }
}
