import { randomBytes } from 'node:crypto'
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { roomHere } from '../room.js'

/** Bounds on what a caller may cost. Times in milliseconds. */
export interface Limits {
  /** For a request's head to arrive. */
  readonly headers: number
  /** For the whole request to arrive, its body included. */
  readonly request: number
  /** For an agent that does not read its answer. */
  readonly stall: number
  readonly connections: number
  /** Bytes that calls may hold together, bodies first of all. */
  readonly room: number
  /** How often connections are looked over for the first two. */
  readonly check: number
}

export const LIMITS: Limits = { headers: 20_000, request: 120_000, stall: 300_000, connections: 10_000, room: roomHere(), check: 5_000 }

/** An application as both listeners have one behind them: strict and silent. `own` is what one of them wants beside that. */
export function createApp (own: FastifyServerOptions = {}): FastifyInstance {
  const prefix = randomBytes(6).toString('base64url')
  let count = 0
  return fastify({
    logger: false,
    genReqId: () => `${prefix}-${(++count).toString(36)}`,
    requestIdHeader: false,
    trustProxy: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: { caseSensitive: true, ignoreTrailingSlash: false, ignoreDuplicateSlashes: false, maxParamLength: 4096 },
    ...own,
  })
}
