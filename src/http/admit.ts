import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { identify, type Identity } from '../caller/identify.js'
import { ERRORS, ValetError, type ErrorCode } from '../errors.js'
import { Exchange, type Caller } from '../exchange.js'
import { authorityFor, isErrorCode } from '../policy/authority.js'
import { LOGIN_PROBE } from '../telemetry/levels.js'
import { abandon, fail } from './conclude.js'
import type { ProxyOptions } from './options.js'
import { readRpc } from './read-rpc.js'
import type { Route } from './routing.js'
import { inTurn, whileInLine } from './turn.js'

/** In the path, not in the query (RFC 8615). */
const WELL_KNOWN = /^[^?]*\/\.well-known(?:[/?]|$)/i

/**
 * The first stage of a call: who is it, and may it come in? As an `onRequest` hook, so that nothing of a stranger's body
 * has been read yet; only where it is refused a small one is, for the id that the answer echoes.
 */
export function admit (options: ProxyOptions): (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void {
  const { clock, calls, tracing, room } = options
  return (request, reply, done) => {
    const route = request.route as Route
    const { upstream, origin, register, routing } = route
    const exchange = new Exchange(request.id, request.method, upstream.name, clock.elapsed())
    exchange.origin = origin
    request.exchange = exchange
    exchange.trace = tracing?.call(exchange, request.headers)
    inTurn(reply.raw, () => {
      calls.begin(exchange, reply, routing)
      reply.raw.on('close', () => {
        calls.done(exchange)
        exchange.share?.end()
        abandon(exchange, options, reply.raw.writableFinished)
      })
      if (exchange.caller !== undefined) lookAgain(exchange, exchange.caller, route)
    })
    if (reply.raw.socket === null) wait(request, reply, exchange, routing)
    // A client that has just been refused looks for a login here, and must find none.
    if (request.raw.url !== upstream.path && WELL_KNOWN.test(request.raw.url as string)) return fail(exchange, reply, new ValetError('ERR_NOT_FOUND', { cause: LOGIN_PROBE }), options)

    const identity = identify(request.headers, register, request.raw.socket)
    if (identity.kind === 'pending') void identity.identity.then((found) => enter(request, reply, exchange, found, route, done))
    else enter(request, reply, exchange, identity, route, done)
  }

  function enter (request: FastifyRequest, reply: FastifyReply, exchange: Exchange, identity: Identity, { upstream, callers }: Route, done: HookHandlerDoneFunction): void {
    if (exchange.gone) return
    const authority = authorityFor(identity, upstream.anonymous, callers)
    if (isErrorCode(authority)) {
      if (identity.kind === 'refused') exchange.lapsed = identity.lapsed
      void readRpc(request.raw).then((rpc) => {
        exchange.rpc = rpc
        fail(exchange, reply, asError(authority, identity), options)
      })
      return
    }
    exchange.authority = authority
    exchange.share = room.share(identity.kind === 'caller' ? identity.caller : undefined)
    if (identity.kind === 'caller') {
      exchange.caller = identity.caller
      calls.belongs(exchange, identity.caller)
    }
    exchange.admittedAt = clock.elapsed()
    done()
  }

  /** In line on its connection: its config is kept up for it, and where its agent leaves, that is told. */
  function wait (request: FastifyRequest, reply: FastifyReply, exchange: Exchange, routing: object): void {
    calls.hold(routing)
    whileInLine(request.raw.socket, reply.raw, (turn) => {
      if (!turn) {
        exchange.share?.end()
        abandon(exchange, options, false)
      }
      calls.release(routing)
    })
  }

  /** A call that has waited for its turn since it was let in: its session may have ended meanwhile. */
  function lookAgain (exchange: Exchange, before: Caller, { register: { keys } }: Route): void {
    const caller = before.subject === undefined ? keys.current(before) : before
    if (caller === undefined) return calls.end(exchange, 'ERR_SESSION_UNKNOWN')
    if (caller.expiresAt !== undefined && caller.expiresAt <= clock.now()) return calls.end(exchange, 'ERR_SESSION_EXPIRED')
    exchange.caller = caller
    calls.belongs(exchange, caller)
  }
}

function asError (code: ErrorCode, identity: Identity): ValetError {
  const { reason, retryAfter = ERRORS[code].status === 503 ? 1 : undefined } = identity.kind === 'refused' ? identity : {}
  return new ValetError(code, { ...(reason === undefined ? {} : { cause: reason }), ...(retryAfter === undefined ? {} : { retryAfter }) })
}
