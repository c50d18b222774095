import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ValetError, type ErrorCode } from '../errors.js'
import { NO_RPC } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import { faultOf } from '../telemetry/fault.js'
import { LOGIN_PROBE } from '../telemetry/levels.js'
import { fail } from './conclude.js'
import { allowOrigin } from './cors.js'
import { malformedRequests, type MalformedHandlers } from './malformed.js'
import type { ProxyOptions } from './options.js'
import { proxy } from './proxy.js'
import { asValetError, replyError } from './reply-error.js'
import { isPlainTarget } from './request-guard.js'
import { createApp } from './server.js'
import { lineGuard } from './turn.js'

/** Where clients look for a login (RFC 8414, RFC 9728, and MCP 2025-03-26, which has paths for where there is no metadata). */
const LOGIN = /^\/(?:authorize|register|token)(?:[/?]|$)|^[^?]*\/\.well-known(?:[/?]|$)/i

/**
 * What agents call, for as long as the sidecar lives: refuses what must not come in at all, and has a way to each upstream
 * behind it. Which upstreams there are each call asks the routing of the moment.
 */
export function createFront (options: ProxyOptions): FastifyInstance {
  const { routing, emit } = options
  const deny = denier(emit)
  const app = createApp(frontErrors(emit))
  const mayWait = lineGuard()
  app.decorateRequest('route', null)
  app.decorateRequest('exchange', null)

  app.addHook('onRequest', (request, reply, done) => {
    if (!mayWait(request.raw.socket, reply.raw)) return
    const current = routing()
    const { guard, isPlainHead, keyHeader } = current
    const url = request.raw.url as string
    const { host, origin } = request.raw.headers
    const route = current.find(url)
    // What is an upstream's path to the letter has been looked at in the config.
    const plain = (route !== undefined && route.upstream.path.length === url.length) || isPlainTarget(url)
    const code = plain && isPlainHead(request.raw) ? guard(host, origin) : 'ERR_REQUEST_INVALID'
    if (code !== undefined) {
      deny(request.id, code)
      return refuse(request, reply, code)
    }
    if (allowOrigin(request.raw, reply.raw, keyHeader)) {
      reply.code(204).send()
      return
    }
    // Before the body, or one that cannot be parsed would make a 400 of what an OAuth client must see as 404.
    if (request.is404 || route === undefined) {
      deny(request.id, 'ERR_NOT_FOUND', LOGIN.test(url) ? LOGIN_PROBE : route === undefined ? current.unknownPath : 'its method is none of MCP')
      return refuse(request, reply, 'ERR_NOT_FOUND')
    }
    request.route = route
    done()
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = asValetError(thrown)
    if (request.exchange !== null) return fail(request.exchange, reply, error, options)
    if (error.code === 'ERR_INTERNAL') emit({ event: 'internal_error', request_id: request.id, reason: faultOf(thrown) })
    replyError(reply, { rpc: NO_RPC, requestId: request.id }, error)
  })

  void app.register(proxy, options)
  return app
}

/** For the listener before it and for itself: what never becomes a request. */
export function frontErrors (emit: Emit): MalformedHandlers {
  const deny = denier(emit)
  return malformedRequests((requestId) => deny(requestId, 'ERR_REQUEST_INVALID'))
}

function denier (emit: Emit): (requestId: string, code: ErrorCode, reason?: string) => void {
  return (requestId, code, reason) => emit({ event: 'denied', request_id: requestId, code, ...(reason === undefined ? {} : { reason }) })
}

function refuse (request: FastifyRequest, reply: FastifyReply, code: ErrorCode): void {
  replyError(reply, { rpc: NO_RPC, requestId: request.id }, new ValetError(code))
}
