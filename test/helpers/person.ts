import type { Person } from '../../src/login/login.js'
import { Watch } from './watch.js'

/** Somebody at a terminal, who says yes unless told otherwise. */
export interface TestPerson extends Person {
  readonly lines: string[]
  readonly questions: string[]
  readonly visits: Array<{ readonly address: URL, readonly port: number }>
  /** Resolves when the login page is named. */
  visited (): Promise<URL>
}

export function testPerson (agrees = true): TestPerson {
  const watch = new Watch<{ address: URL, port: number }>()
  const [lines, questions, visits]: [string[], string[], Array<{ address: URL, port: number }>] = [[], [], []]
  return {
    lines,
    questions,
    visits,
    tell (line) { lines.push(line) },
    async agree (question) {
      questions.push(question)
      return agrees
    },
    visit (address, port) {
      visits.push({ address, port })
      watch.tell({ address, port })
    },
    visited: async () => (await watch.until(() => true, visits)).address,
  }
}
