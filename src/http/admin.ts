import type { FastifyInstance } from 'fastify'
import type { Metrics } from '../telemetry/metrics.js'
import { createServer, type Limits } from './server.js'

export interface AdminOptions {
  readonly limits: Limits
  readonly metrics: Metrics
  /** Why the sidecar should get no calls now, by name; empty where it should. */
  readonly unready: () => readonly string[]
}

/** The listener for operators, orchestrators and Prometheus. What it tells without a token holds nothing secret. */
export function createAdmin ({ limits, metrics, unready }: AdminOptions): FastifyInstance {
  const app = createServer(limits)
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    done()
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
  app.setNotFoundHandler((_request, reply) => {
    reply.code(404).send({ error: 'not found: this listener has /healthz, /readyz and /metrics' })
  })
  return app
}
