import type { FastifyInstance } from 'fastify'
import { pause, type Clock } from '../clock.js'

/** Milliseconds between two looks at what is still under way. */
const LOOK_EVERY = 50

/** How many calls a listener has under way. */
export interface Traffic { readonly underWay: number }

/**
 * Takes no new connections, lets the calls under way end, and then closes what is left. That must be done by force: to
 * Node a connection on which nothing was ever sent is active, not idle, and clients like to open one in advance.
 * @param grace milliseconds after which calls under way are cut off
 */
export async function drain (app: FastifyInstance, traffic: Traffic, clock: Clock, grace: number): Promise<void> {
  const closed = app.close()
  const deadline = clock.elapsed() + grace
  while (traffic.underWay > 0 && clock.elapsed() < deadline) await pause(clock, LOOK_EVERY)
  app.server.closeAllConnections()
  await closed
}
