import type { AnswerPattern } from '../config/config.js'
import type { Exchange } from '../exchange.js'
import { fittingPattern } from '../mcp/answer-pattern.js'
import { EventStream, TooLong } from '../mcp/event-stream.js'
import type { Answer } from './attempt.js'
import { ByteCollector } from './byte-collector.js'
import { isEventStream, isJson, unreadable } from './readable.js'

/** Bytes of an answer that are kept to find out what it says: no refusal is longer. */
const LONGEST = 64 * 1024

/**
 * Whether the answer to a call may hide that its token was refused, and the call may be sent again for that: one that has
 * a credential and is a single request. Of a batch other parts may have been carried out.
 */
export function mayHideRefusal (exchange: Exchange, patterns: readonly AnswerPattern[]): boolean {
  if (patterns.length === 0 || exchange.method !== 'POST' || exchange.credential === undefined) return false
  const { id, method } = exchange.rpc
  return id !== null && method !== 'response'
}

/** @returns undefined where an answer is none to look into: no 200, in a coding, too long, or neither JSON nor events */
export function beginningOf ({ status, headers }: Answer, exchange: Exchange, patterns: readonly AnswerPattern[]): Beginning | undefined {
  if (status !== 200 || !mayHideRefusal(exchange, patterns)) return undefined
  if (unreadable(status, headers) !== undefined || Number(headers['content-length'] ?? 0) > LONGEST) return undefined
  const isStream = isEventStream(headers)
  return isStream || isJson(headers) ? new Beginning(isStream, (text) => fittingPattern(text, patterns, exchange.rpc.id)) : undefined
}

/**
 * The beginning of an answer with status 200, kept until it is known whether it is a refusal: all of it where it is JSON,
 * and of a stream all up to the first event that says something. Where that is no refusal the upstream has taken the
 * call, whatever comes behind it.
 */
export class Beginning {
  readonly isStream: boolean
  /** Which pattern it fits, once that is known; undefined where none. */
  fitting: number | undefined
  readonly #fitting: (text: Buffer) => number | undefined
  readonly #events: EventStream | undefined
  readonly #kept = new ByteCollector()
  #decided = false

  /** @param fitting which pattern a JSON-RPC message fits */
  constructor (isStream: boolean, fitting: (text: Buffer) => number | undefined) {
    this.isStream = isStream
    this.#fitting = fitting
    this.#events = isStream ? new EventStream((data) => this.#event(data), LONGEST) : undefined
  }

  /** What has come. */
  get pieces (): readonly Buffer[] {
    return this.#kept.pieces()
  }

  /** @returns whether it is known now */
  write (chunk: Buffer): boolean {
    this.#kept.add(chunk)
    this.#read(chunk)
    return this.#decided || this.#kept.length > LONGEST
  }

  /** There is no more of it. */
  end (): void {
    if (this.#events !== undefined) this.#events.end()
    else this.fitting = this.#fitting(this.#kept.whole())
  }

  #read (chunk: Buffer): void {
    try {
      this.#events?.write(chunk)
    } catch (error) {
      if (!(error instanceof TooLong)) throw error
      this.#decided = true
    }
  }

  /** Empty data says nothing: it begins a stream that can be resumed (MCP 2025-11-25). */
  #event (data: Buffer): Buffer {
    if (this.#decided || data.length === 0) return data
    this.#decided = true
    this.fitting = this.#fitting(data)
    return data
  }
}
