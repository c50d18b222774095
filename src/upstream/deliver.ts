import type { ServerResponse } from 'node:http'
import type { Dispatcher } from 'undici'
import type { Clock } from '../clock.js'
import type { Exchange } from '../exchange.js'
import { responseHeaders } from './headers.js'

type Controller = Dispatcher.DispatchController
type Headers = Record<string, string | string[] | undefined>

/** What is the same for all answers of one upstream. */
export interface Way {
  readonly clock: Clock
  /** The upstream's base URL, and the path at which agents reach it. */
  readonly base: URL
  readonly path: string
  /** Milliseconds that an agent may leave its end of the connection unread. */
  readonly stall: number
  readonly onStream: (open: boolean) => void
  /** The upstream broke off after the head had gone. */
  readonly onBroken: (exchange: Exchange, error: Error) => void
}

/** One call's own end of it. */
export interface Call {
  readonly exchange: Exchange
  readonly raw: ServerResponse
  /** The caller's headers that go on, names and values in turn. */
  readonly headers: string[]
  /** Gives a session id of the upstream's the form that the agent may know. */
  readonly session: { show (own: string): string }
  /** @returns where the agent shall POST to, in place of this path at the upstream (MCP 2024-11-05) */
  readonly bindEndpoint: (path: string) => string
  /** The answer's head goes out now; nobody else may write to the connection any more. */
  onHead (): void
  /** All of it has been handed on. */
  onAnswered (): void
}

/** A longer piece costs more to copy into one string with its head than a second buffer costs to send. */
const WORTH_JOINING = 32 * 1024

/**
 * Writes an answer to the agent's connection as it arrives: the head at once, each piece after it, and no piece sooner
 * than the agent reads. What comes in one read of the upstream's socket leaves in one write; for most answers of a tool,
 * head and all, that is the only one.
 */
export class Delivery implements Dispatcher.DispatchHandler {
  readonly #way: Way
  readonly #call: Call
  readonly #onFailure: (error: Error) => void
  #started = false
  /** The head, until it is written with whatever has come with it. */
  #head: { readonly status: number, readonly headers: string[] } | undefined
  #stream = false
  /** What has come in this turn of the event loop and has not been written yet. */
  #pieces: Buffer[] = []
  #flushing = false
  #cancelStall: (() => void) | undefined

  /** @param onFailure there will be no answer from the upstream, and nothing has gone to the agent */
  constructor (way: Way, call: Call, onFailure: (error: Error) => void) {
    this.#way = way
    this.#call = call
    this.#onFailure = onFailure
  }

  onRequestStart (): void {}

  onResponseStart (controller: Controller, status: number, headers: Headers): void {
    const { exchange } = this.#call
    this.#started = true
    if (exchange.gone) return
    exchange.status = status
    this.#call.onHead()
    this.#head = { status, headers: responseHeaders(headers, exchange.credential?.token.reveal(), this.#way, this.#call.session) }
    this.#stream = String(headers['content-type'] ?? '').startsWith('text/event-stream')
    if (this.#stream) this.#way.onStream(true)
    this.#flushSoon(controller)
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    if (this.#call.exchange.gone) return
    this.#pieces.push(chunk)
    this.#flushSoon(controller)
  }

  onResponseEnd (): void {
    const { exchange, raw } = this.#call
    this.#closeStream()
    if (exchange.gone) return
    const rest = this.#take()
    // Node puts a string, but not a buffer, into one piece with the head; Latin-1 keeps the bytes as they are.
    const whole = this.#writeHead(rest.length)
    if (whole && rest.length <= WORTH_JOINING) raw.end(rest.toString('latin1'), 'latin1')
    else raw.end(rest)
    this.#firstByte()
    this.#call.onAnswered()
    // The last of it may wait for its reader too, and must not do so for ever. A pipelined answer waits for its turn.
    if (raw.writableLength > 0 && raw.socket !== null) raw.once('close', this.#way.clock.after(this.#way.stall, () => raw.destroy()))
  }

  onResponseError (_controller: Controller, error: Error): void {
    const { exchange, raw } = this.#call
    this.#closeStream()
    if (exchange.gone) return
    if (!this.#started) return this.#onFailure(error)
    // Half an answer must not look like a whole one, so the connection goes with it.
    this.#way.onBroken(exchange, error)
    raw.destroy()
  }

  /** At the end of this turn, when everything that has arrived together is here. */
  #flushSoon (controller: Controller): void {
    if (this.#flushing) return
    this.#flushing = true
    process.nextTick(() => {
      this.#flushing = false
      this.#flush(controller)
    })
  }

  #flush (controller: Controller): void {
    const { exchange, raw } = this.#call
    if (exchange.gone || raw.writableEnded || raw.destroyed) return
    this.#writeHead()
    if (this.#pieces.length === 0) raw.flushHeaders()
    else if (!raw.write(this.#take())) this.#waitForReader(controller)
    this.#firstByte()
  }

  /**
   * @param length of the whole body, where that is known: then no chunks are needed for it
   * @returns whether it was still to be written
   */
  #writeHead (length?: number): boolean {
    const head = this.#head
    if (head === undefined) return false
    this.#head = undefined
    const { status, headers } = head
    if (length !== undefined && length > 0 && !headers.includes('content-length')) headers.push('content-length', String(length))
    this.#call.raw.writeHead(status, headers)
    return true
  }

  #take (): Buffer {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces.length === 1 ? pieces[0] as Buffer : Buffer.concat(pieces)
  }

  #firstByte (): void {
    this.#call.exchange.firstByteAt ??= this.#way.clock.elapsed()
  }

  #waitForReader (controller: Controller): void {
    if (this.#cancelStall !== undefined) return
    const { raw } = this.#call
    controller.pause()
    this.#cancelStall = this.#way.clock.after(this.#way.stall, () => raw.destroy())
    raw.once('drain', () => {
      this.#cancelStall?.()
      this.#cancelStall = undefined
      controller.resume()
    })
  }

  #closeStream (): void {
    this.#cancelStall?.()
    if (this.#stream) this.#way.onStream(false)
    this.#stream = false
  }
}
