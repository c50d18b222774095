import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that one connection may send before its earlier ones are answered; clients that do it at all send a few. */
const LONGEST_LINE = 16

/**
 * Begins a call once it is its answer's turn on the connection. Of calls that are pipelined only safe ones might run side
 * by side (RFC 9112 §9.3.2), and while an answer has no connection yet, Node does not tell it that the agent has left.
 */
export function inTurn (answer: ServerResponse, begin: () => void): void {
  if (answer.socket === null) answer.once('socket', begin)
  else begin()
}

/** Tells when a call that waits in line has its turn, or its connection closes before: of that its answer hears nothing. */
export function whileInLine (connection: Socket, answer: ServerResponse, ended: (turn: boolean) => void): void {
  const gone = (): void => ended(false)
  // One for each that waits, beside Node's own.
  connection.setMaxListeners(2 * LONGEST_LINE)
  connection.once('close', gone)
  answer.once('socket', () => {
    connection.off('close', gone)
    ended(true)
  })
}

/**
 * Tells whether a request may wait in line on its connection; where too many do already, the connection is closed. Each
 * that waits is memory, and answers that wait keep Node from reading on, so that it would not notice the agent leaving.
 */
export function lineGuard (): (connection: Socket, answer: ServerResponse) => boolean {
  const waiting = new WeakMap<Socket, number>()
  const move = (connection: Socket, by: number): number => {
    const line = (waiting.get(connection) ?? 0) + by
    waiting.set(connection, line)
    return line
  }
  return (connection, answer) => {
    if (answer.socket !== null) return true
    if (move(connection, 1) > LONGEST_LINE) {
      connection.destroy()
      return false
    }
    answer.once('socket', () => move(connection, -1))
    return true
  }
}
