import type { FastifyInstance } from 'fastify'
import { ControlError } from '../control.js'
import type { Emit } from '../telemetry/events.js'
import { faultOf } from '../telemetry/fault.js'
import { asControlError, errorBody, replyControlError } from './admin/answer.js'
import { adminApi } from './admin/api.js'
import type { AdminOptions } from './admin/options.js'
import { statusPage } from './admin/status-page.js'
import { malformedRequests, type MalformedHandlers } from './malformed.js'
import { createApp } from './server.js'

export type { AdminOptions, AdminSettings } from './admin/options.js'

/** What operators, orchestrators and Prometheus ask, for as long as the sidecar lives. What it tells without a token holds nothing secret. */
export function createAdmin (options: AdminOptions): FastifyInstance {
  const { metrics, unready, emit } = options
  const app = createApp(adminErrors(emit))
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    done()
  })
  app.setErrorHandler((thrown, request, reply) => {
    const error = asControlError(thrown)
    if (error.code === 'ERR_INTERNAL') emit({ event: 'internal_error', request_id: request.id, reason: faultOf(error.cause ?? error) })
    replyControlError(reply, error)
  })
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', (_request, reply) => {
    const reasons = unready()
    return reply.code(reasons.length === 0 ? 200 : 503).send({ status: reasons.length === 0 ? 'ready' : 'unready', reasons })
  })
  app.get('/metrics', async (_request, reply) => {
    const { type, text } = await metrics.expose()
    return await reply.type(type).send(text)
  })
  app.setNotFoundHandler(() => { throw new ControlError('ERR_NOT_FOUND', [{ path: '', message: 'this listener has /, /healthz, /readyz, /metrics and /v1' }]) })
  void app.register(statusPage, options)
  void app.register(adminApi, { ...options, prefix: '/v1' })
  return app
}

/** For the listener before it and for itself: what never becomes a request. */
export function adminErrors (emit: Emit): MalformedHandlers {
  return malformedRequests((requestId) => emit({ event: 'denied', request_id: requestId, code: 'ERR_REQUEST_INVALID' }), errorBody)
}
