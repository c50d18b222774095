import { randomBytes } from 'node:crypto'
import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect } from 'node:net'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Listen } from '../config/config.js'

/** Bounds on what a caller may cost. Times in milliseconds. */
export interface Limits {
  /** For a request's head to arrive. */
  readonly headers: number
  /** For the whole request to arrive, its body included. */
  readonly request: number
  /** For an agent that does not read its answer. */
  readonly stall: number
  readonly connections: number
  /** For calls and streams to end when the sidecar stops. */
  readonly grace: number
  /** How often connections are looked over for the first two. */
  readonly check: number
}

export const LIMITS: Limits = { headers: 20_000, request: 120_000, stall: 300_000, grace: 5_000, connections: 10_000, check: 5_000 }

/** A Fastify server as both listeners use it: strict, silent, bounded. `own` is what one of them wants beside that. */
export function createServer (limits: Limits, own: FastifyServerOptions = {}): FastifyInstance {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  const app = fastify({
    logger: false,
    genReqId: () => `${prefix}-${(++count).toString(36)}`,
    requestIdHeader: false,
    trustProxy: false,
    exposeHeadRoutes: false,
    requestTimeout: limits.request,
    keepAliveTimeout: 75_000,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false, maxParamLength: 4096 },
    http: { headersTimeout: limits.headers, connectionsCheckingInterval: limits.check, requireHostHeader: true, insecureHTTPParser: false },
    ...own,
  })
  // Node would drop headers from the 2001st on, a Content-Length among them; a head is bounded in bytes (16 KiB) anyway.
  app.server.maxHeadersCount = 0
  app.server.maxConnections = limits.connections
  return app
}

/** Listens and gives the address back as a URL; for a socket, as `unix:/path.sock`. */
export async function listen (app: FastifyInstance, where: Listen): Promise<string> {
  if ('host' in where) return await app.listen({ host: where.host, port: where.port, listenTextResolver: (address) => address })
  await removeStaleSocket(where.socket)
  await app.listen({ path: where.socket })
  await chmod(where.socket, 0o600)
  return `unix:${where.socket}`
}

/** A process that was killed leaves its socket behind; one that somebody still answers on is not touched, nor is a file. */
async function removeStaleSocket (path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSocket() !== true) return
  const refused = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => { probe.destroy(); resolve(false) })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (refused) await unlink(path)
}
