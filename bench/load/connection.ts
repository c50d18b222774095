/**
 * One keep-alive connection of the load generator. A raw socket and a request made of ready bytes: a full HTTP client
 * would cost more than nginx does, and the generator shares the machine with what it measures.
 */
import { connect, type Socket } from 'node:net'
import { call, initialize, answers, putId, ID_DIGITS, type Message } from '../wire.js'
import { readAnswer, type Answer } from './answer.js'
import type { Destination } from './protocol.js'

/** `failure` says in words what was wrong; undefined means a good answer, checked byte for byte. */
export type Done = (failure: string | undefined) => void

const CALL_TIMEOUT = 15_000

export class Connection {
  #to: Destination
  #socket: Socket | undefined
  #received: Buffer | undefined
  #waiting: ((answer: Answer | Error) => void) | undefined
  #deadline: NodeJS.Timeout | undefined
  #request: Message | undefined
  #expected: Buffer

  constructor (to: Destination) {
    this.#to = to
    this.#expected = Buffer.from(answers[to.answer].bytes)
  }

  open (): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: this.#to.port, noDelay: true })
      socket.once('connect', () => { this.#socket = socket; resolve() })
      socket.once('error', reject)
      socket.on('error', error => { this.#lose(socket, error) })
      socket.on('close', () => { this.#lose(socket, new Error('connection closed')) })
      socket.on('data', (chunk: Buffer) => { this.#read(chunk) })
    })
  }

  /** Sends `initialize` and gives the `Mcp-Session-Id` of its answer. */
  async initialize (): Promise<string> {
    const answer = await new Promise<Answer | Error>(resolve => {
      this.#exchange(message(this.#to, this.#to.headers, initialize).bytes, resolve)
    })
    if (answer instanceof Error) throw answer
    const id = /\r\nmcp-session-id: *([^\r]+)/i.exec(answer.head)?.[1]
    if (answer.status !== 200 || id === undefined) throw new Error(`initialize: ${describe(answer)}`)
    return id
  }

  /** From now on this connection's calls belong to that MCP session. */
  use (sessionId: string): void {
    const headers = { ...this.#to.headers, 'Mcp-Session-Id': sessionId, 'MCP-Protocol-Version': '2025-11-25' }
    this.#request = message(this.#to, headers, call)
  }

  /** Makes one call. A connection that was closed in between is opened again first, and the call pays for it. */
  call (id: number, done: Done): void {
    if (this.#socket === undefined) {
      this.open().then(() => { this.call(id, done) }, (error: Error) => { done(error.message) })
      return
    }
    const request = this.#request!
    const answer = answers[this.#to.answer]
    putId(request.bytes, request.idAt, id)
    request.bytes.copy(this.#expected, answer.idAt, request.idAt, request.idAt + ID_DIGITS)
    this.#exchange(request.bytes, got => {
      if (got instanceof Error) done(got.message)
      else if (got.status !== 200) done(describe(got))
      else if (!got.body.equals(this.#expected)) done(`not the answer to this call: ${describe(got)}`)
      else done(undefined)
    })
  }

  close (): void {
    this.#socket?.destroy()
  }

  #exchange (bytes: Buffer, done: (answer: Answer | Error) => void): void {
    this.#waiting = done
    // One timer per connection, started again for each call: cheaper than a new one.
    if (this.#deadline === undefined) {
      this.#deadline = setTimeout(() => { if (this.#waiting) this.#lose(this.#socket, new Error('no answer in 15 s')) }, CALL_TIMEOUT)
      this.#deadline.unref()
    } else this.#deadline.refresh()
    this.#socket!.write(bytes)
  }

  #read (chunk: Buffer): void {
    this.#received = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk])
    let answer: Answer | undefined
    try {
      answer = readAnswer(this.#received)
    } catch (error) {
      this.#lose(this.#socket, error as Error)
      return
    }
    if (answer === undefined) return
    this.#received = undefined
    this.#settle(answer)
  }

  /** Gives the socket up before it tells: whoever is told makes the next call at once, and needs a new socket for it. */
  #lose (socket: Socket | undefined, error: Error): void {
    if (socket === undefined || socket !== this.#socket) return
    this.#socket = undefined
    this.#received = undefined
    socket.destroy()
    this.#settle(error)
  }

  #settle (answer: Answer | Error): void {
    const done = this.#waiting
    this.#waiting = undefined
    done?.(answer)
  }
}

/** The request's bytes. The headers beside `own` are those that Node's fetch, and so the official SDK's client, sends. */
function message (to: Destination, own: Record<string, string>, body: Message): Message {
  const headers = {
    Host: `127.0.0.1:${to.port}`,
    Connection: 'keep-alive',
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'Accept-Language': '*',
    'Sec-Fetch-Mode': 'cors',
    'User-Agent': 'node',
    'Accept-Encoding': 'gzip, deflate',
    'Content-Length': String(body.bytes.length),
    ...own,
  }
  const head = `POST ${to.path} HTTP/1.1\r\n${Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`
  return { bytes: Buffer.concat([Buffer.from(head), body.bytes]), idAt: head.length + body.idAt }
}

function describe (answer: Answer): string {
  return `status ${answer.status}, ${answer.body.length} bytes: ${answer.body.toString().slice(0, 160)}`
}
