import type { FastifyReply } from 'fastify'
import type { Clock } from '../clock.js'
import { ValetError, type ErrorCode } from '../errors.js'
import type { Caller, Exchange } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import { fail } from './conclude.js'

interface OpenCall { readonly exchange: Exchange, readonly reply: FastifyReply, cancelExpiry: (() => void) | undefined }

/** The calls under way on the agents' listener, so that those of a session can be ended with it. */
export class OpenCalls {
  readonly #calls = new Map<Exchange, OpenCall>()
  readonly #telemetry: { readonly clock: Clock, readonly emit: Emit }

  constructor (telemetry: { readonly clock: Clock, readonly emit: Emit }) {
    this.#telemetry = telemetry
  }

  get underWay (): number {
    return this.#calls.size
  }

  begin (exchange: Exchange, reply: FastifyReply): void {
    this.#calls.set(exchange, { exchange, reply, cancelExpiry: undefined })
  }

  /**
   * It is this session's, and ends with it at the latest. A JWT lives for minutes and its caller gets the next one in time,
   * so what was begun under it may come to its end; only a stream that listens, which has none, ends with it.
   */
  belongs (exchange: Exchange, { expiresAt, subject }: Caller): void {
    const call = this.#calls.get(exchange)
    if (expiresAt === undefined || call === undefined) return
    const { clock } = this.#telemetry
    call.cancelExpiry = clock.after(expiresAt - clock.now(), () => {
      if (subject === undefined || listens(exchange)) this.#end(call, 'ERR_SESSION_EXPIRED')
    })
  }

  done (exchange: Exchange): void {
    this.#calls.get(exchange)?.cancelExpiry?.()
    this.#calls.delete(exchange)
  }

  /** Ends what a session that was revoked has under way, its open streams included. */
  endSession (session: string): void {
    for (const call of [...this.#calls.values()]) if (call.exchange.caller?.session === session) this.#end(call, 'ERR_SESSION_UNKNOWN')
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
