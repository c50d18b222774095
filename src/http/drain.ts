import { pause, type Clock } from '../clock.js'
import type { DrainConfig } from '../config/config.js'
import type { Listener } from './listener.js'
import type { OpenCalls } from './open-calls.js'

/** Milliseconds between two looks at what is still under way. */
const LOOK_EVERY = 50

/**
 * Takes no new connections and lets what is under way end: calls for as long as they may take, streams, which have no end of
 * their own, for their grace. Then closes what is left.
 * @param linger milliseconds for which connections on which nothing happens are kept, as a request may be on its way on one
 */
export async function drain (listener: Listener, calls: OpenCalls, clock: Clock, { callsMs, streamsMs }: DrainConfig, linger: number): Promise<void> {
  listener.stopAccepting()
  calls.closeBehindThem()
  const since = clock.elapsed()
  for (;;) {
    const passed = clock.elapsed() - since
    if (passed >= streamsMs) calls.endStreams()
    const { plain, streams } = calls.underWay
    const wait = (plain > 0 && passed < callsMs) || (streams > 0 && passed < streamsMs) || (passed < linger && await listener.connected)
    if (!wait) break
    await pause(clock, LOOK_EVERY)
  }
  calls.endStreams()
  calls.endAll()
  // What has just been written must leave before its connection ends.
  await new Promise((resolve) => { setImmediate(resolve) })
  listener.close()
}
