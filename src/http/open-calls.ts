import { isDeepStrictEqual } from 'node:util'
import type { FastifyReply } from 'fastify'
import type { Clock } from '../clock.js'
import type { ToolRules, UpstreamConfig } from '../config/config.js'
import { ValetError, type ErrorCode } from '../errors.js'
import type { Caller, Exchange } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import { answered, fail } from './conclude.js'

interface OpenCall {
  readonly exchange: Exchange
  readonly reply: FastifyReply
  readonly routing: object
  cancelExpiry: (() => void) | undefined
  /** On tools, as its policy was made of them. */
  rules: readonly ToolRules[] | undefined
}

/** The calls under way on the agents' listener, so that those of a session can be ended with it. */
export class OpenCalls {
  /**
   * Each at its exchange's slot. No Map or Set: whenever one of these makes room anew, its old table keeps a reference to the
   * next. Once one was promoted, the calls in all that came after it were, too: a fifth of what a call costs, measured.
   */
  readonly #calls: OpenCall[] = []
  /** How many of them each routing has, and who waits for the last of those. */
  readonly #left = new WeakMap<object, { count: number, ended: () => void }>()
  /** The rules on tools that apply to a call as things are now, at this upstream or the one of its name; undefined where there is none. */
  rulesOf: (exchange: Exchange, upstream?: UpstreamConfig) => readonly ToolRules[] | undefined = () => undefined
  readonly #telemetry: { readonly clock: Clock, readonly emit: Emit }

  constructor (telemetry: { readonly clock: Clock, readonly emit: Emit }) {
    this.#telemetry = telemetry
  }

  /** How many, those that listen apart. */
  get underWay (): { readonly plain: number, readonly streams: number } {
    const streams = this.#calls.filter(({ exchange }) => listens(exchange)).length
    return { plain: this.#calls.length - streams, streams }
  }

  /** Each answer whose head has not gone yet tells its agent that its connection closes with it. */
  closeBehindThem (): void {
    for (const { reply } of this.#calls) reply.raw.shouldKeepAlive = false
  }

  /** Ends the streams that listen, as their server might: agents open them anew, elsewhere. */
  endStreams (): void {
    for (const call of [...this.#calls]) if (listens(call.exchange) && call.reply.raw.headersSent) this.#close(call, 'mcp-valet is stopping')
  }

  /** Answers to calls to come may arrive on this one, and are read under the rules that it began under. */
  keepRules (exchange: Exchange, upstream: UpstreamConfig): void {
    const call = this.#calls[exchange.slot]
    if (call !== undefined) call.rules = this.rulesOf(exchange, upstream)
  }

  /** Rules on tools may have changed: ends, as `endStreams`, those that began under others. */
  endOutdated (): void {
    for (const call of [...this.#calls]) {
      const { exchange, reply, rules } = call
      const now = rules === undefined ? undefined : this.rulesOf(exchange)
      if (now === undefined || isDeepStrictEqual(now, rules)) continue
      if (reply.raw.headersSent) this.#close(call, 'the rules on tools have changed')
      else reply.raw.destroy()
    }
  }

  /** Ends whatever there is, which may not take any longer. */
  endAll (): void {
    for (const call of [...this.#calls]) this.#end(call, 'ERR_SHUTTING_DOWN')
  }

  /** Ends what sessions have under way that are none any more. */
  endWhere (ended: (caller: Caller) => boolean): void {
    for (const call of [...this.#calls]) if (call.exchange.caller !== undefined && ended(call.exchange.caller)) this.#end(call, 'ERR_SESSION_UNKNOWN')
  }

  /** @param routing by which it comes to its end */
  begin (exchange: Exchange, reply: FastifyReply, routing: object): void {
    exchange.slot = this.#calls.push({ exchange, reply, routing, cancelExpiry: undefined, rules: undefined }) - 1
    this.hold(routing)
  }

  /** Keeps a routing up, for a call that waits in line, say. */
  hold (routing: object): void {
    const left = this.#left.get(routing)
    if (left === undefined) this.#left.set(routing, { count: 1, ended: () => {} })
    else left.count++
  }

  release (routing: object): void {
    const left = this.#left.get(routing)
    if (left !== undefined && --left.count === 0) left.ended()
  }

  /**
   * It is this session's, and ends with it at the latest. A JWT lives for minutes and its caller gets the next one in time,
   * so what was begun under it may come to its end; only a stream that listens, which has none, ends with it.
   */
  belongs (exchange: Exchange, { expiresAt, subject }: Caller): void {
    const call = this.#calls[exchange.slot]
    if (expiresAt === undefined || call === undefined) return
    const { clock } = this.#telemetry
    call.cancelExpiry = clock.after(expiresAt - clock.now(), () => {
      if (subject === undefined || listens(exchange)) this.#end(call, 'ERR_SESSION_EXPIRED')
    })
  }

  /** Ends one call. */
  end (exchange: Exchange, code: ErrorCode): void {
    const call = this.#calls[exchange.slot]
    if (call !== undefined) this.#end(call, code)
  }

  done (exchange: Exchange): void {
    const call = this.#calls[exchange.slot]
    if (call === undefined) return
    call.cancelExpiry?.()
    // The last one takes its place.
    const last = this.#calls.pop() as OpenCall
    if (last !== call) {
      this.#calls[exchange.slot] = last
      last.exchange.slot = exchange.slot
    }
    exchange.slot = -1
    this.release(call.routing)
  }

  /** Resolves once nothing is under way by a routing, nor waits in line for its turn. */
  async settled (routing: object): Promise<void> {
    const left = this.#left.get(routing)
    if (left === undefined || left.count === 0) return
    await new Promise<void>((resolve) => { left.ended = resolve })
  }

  /** Ends what a session that was revoked has under way, its open streams included. */
  endSession (session: string): void {
    this.endWhere((caller) => caller.session === session)
  }

  #close ({ exchange, reply }: OpenCall, reason: string): void {
    if (exchange.gone) return
    answered(exchange, this.#telemetry)
    exchange.gone = true
    reply.raw.end()
    exchange.abort?.(new Error(reason))
  }

  #end ({ exchange, reply }: OpenCall, code: ErrorCode): void {
    if (exchange.gone) return
    // Half an answer must not look like a whole one, so there the connection goes; where nothing has gone out, a word does.
    if (reply.sent || reply.raw.headersSent) {
      reply.raw.destroy()
      return
    }
    fail(exchange, reply, new ValetError(code), this.#telemetry)
    exchange.gone = true
    exchange.abort?.(new Error('the session has ended'))
  }
}

/** By GET up to MCP 2025-11-25, by a call of its own from 2026-07-28 on. */
function listens ({ method, rpc }: Exchange): boolean {
  return method === 'GET' || rpc.method === 'subscriptions/listen'
}
