import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { createGuard } from '../caller/guard.js'
import { ValetError, type ErrorCode } from '../errors.js'
import { NO_RPC } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import { faultOf } from '../telemetry/fault.js'
import { fail } from './conclude.js'
import { allowOrigin } from './cors.js'
import { malformedRequests, type MalformedHandlers } from './malformed.js'
import type { ProxyOptions } from './options.js'
import { upstreamRoutes } from './proxy.js'
import { asValetError, replyError } from './reply-error.js'
import { headGuard, isPlainTarget } from './request-guard.js'
import { createApp } from './server.js'
import { lineGuard } from './turn.js'

/** What agents call: refuses what must not come in at all, and has a way to each upstream behind it. */
export function createFront (options: ProxyOptions): FastifyInstance {
  const { config, emit } = options
  const deny = denier(emit)
  const app = createApp(frontErrors(emit))
  const guard = createGuard(config.callers, config.listen)
  const isPlainHead = headGuard(config.callers.header)
  const mayWait = lineGuard()
  /** What nearly every call asks for, to the letter; the config has been checked. */
  const paths = new Set([...config.upstreams.values()].map(({ path }) => path))
  app.decorateRequest('exchange', null)

  app.addHook('onRequest', (request, reply, done) => {
    if (!mayWait(request.raw.socket, reply.raw)) return
    const { url, headers } = request.raw
    const malformed = !(paths.has(url as string) || isPlainTarget(url as string)) || !isPlainHead(request.raw)
    const code = malformed ? 'ERR_REQUEST_INVALID' : guard(headers.host, headers.origin)
    if (code !== undefined) {
      deny(request.id, code)
      return refuse(request, reply, code)
    }
    if (allowOrigin(request.raw, reply.raw, config.callers.header)) {
      reply.code(204).send()
      return
    }
    // Before the body, or one that cannot be parsed would make a 400 of what an OAuth client must see as 404.
    if (request.is404) return refuse(request, reply, 'ERR_NOT_FOUND')
    done()
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = asValetError(thrown)
    if (request.exchange !== null) return fail(request.exchange, reply, error, options)
    if (error.code === 'ERR_INTERNAL') emit({ event: 'internal_error', request_id: request.id, reason: faultOf(thrown) })
    replyError(reply, { rpc: NO_RPC, requestId: request.id }, error)
  })

  for (const upstream of config.upstreams.values()) void app.register(upstreamRoutes, { ...options, upstream })
  return app
}

/** For the listener before it and for itself: what never becomes a request. */
export function frontErrors (emit: Emit): MalformedHandlers {
  const deny = denier(emit)
  return malformedRequests((requestId) => deny(requestId, 'ERR_REQUEST_INVALID'))
}

function denier (emit: Emit): (requestId: string, code: ErrorCode) => void {
  return (requestId, code) => emit({ event: 'denied', request_id: requestId, code })
}

function refuse (request: FastifyRequest, reply: FastifyReply, code: ErrorCode): void {
  replyError(reply, { rpc: NO_RPC, requestId: request.id }, new ValetError(code))
}
