import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import { pause, type Clock } from '../../clock.js'
import { ControlError } from '../../control.js'
import type { Emit } from '../../telemetry/events.js'
import { faultOf } from '../../telemetry/fault.js'

/** Milliseconds between two looks at what has changed. */
const EVERY = 1_000
/** Milliseconds for which somebody may not read what was written. */
const PATIENCE = 15_000
/** Milliseconds after which a page that lost its stream comes back. */
const COME_BACK = 2_000

export interface WatchersOptions {
  readonly clock: Clock
  readonly emit: Emit
  /** At once. */
  readonly most: number
  /** Ends them all. */
  readonly until: AbortSignal
}

/** What a watcher is told at one look: server-sent events, or nothing. @throws {ControlError} where it may watch no longer */
export type Look = () => Promise<string>

/** Those who watch by server-sent events (WHATWG HTML §9.2). One who does not read holds no more than one look's worth. */
export class Watchers {
  readonly #options: WatchersOptions
  /** What ends each of them. */
  readonly #leave = new Set<() => void>()

  constructor (options: WatchersOptions) {
    this.#options = options
    options.until.addEventListener('abort', () => { for (const leave of this.#leave) leave() }, { once: true })
  }

  /**
   * Answers with a stream that lasts until one side ends it.
   * @throws {ControlError} ERR_TOO_MANY_WATCHERS
   */
  async serve (reply: FastifyReply, look: Look): Promise<void> {
    const { most, until, emit } = this.#options
    if (this.#leave.size >= most) throw new ControlError('ERR_TOO_MANY_WATCHERS')
    const gone = new AbortController()
    const leave = (): void => gone.abort()
    this.#leave.add(leave)
    const { raw } = reply.header('content-type', 'text/event-stream; charset=utf-8').header('x-accel-buffering', 'no').hijack()
    raw.once('close', leave)
    // Without a listener, what is written to somebody who has left would end the process.
    raw.on('error', leave)
    try {
      raw.writeHead(200, reply.getHeaders() as Record<string, string>)
      raw.write(`retry: ${COME_BACK}\n\n`)
      if (!until.aborted) await this.#run(raw, look, gone.signal)
    } catch (error) {
      // The end of the stream says enough: whoever comes back is told why.
      if (!(error instanceof ControlError)) emit({ event: 'internal_error', request_id: reply.request.id, reason: faultOf(error) })
    } finally {
      this.#leave.delete(leave)
      // The end would wait behind what nobody reads.
      if (raw.writableNeedDrain) raw.destroy()
      else raw.end()
    }
  }

  async #run (raw: ServerResponse, look: Look, gone: AbortSignal): Promise<void> {
    const { clock } = this.#options
    while (!gone.aborted) {
      const text = await look()
      if (gone.aborted) return
      if (text !== '' && !raw.write(text) && !await drained(raw, clock, gone)) return
      await pause(clock, EVERY, gone)
    }
  }
}

/** Whether somebody has read all of it in time. */
async function drained (raw: ServerResponse, clock: Clock, gone: AbortSignal): Promise<boolean> {
  const read = new AbortController()
  const done = (): void => read.abort()
  raw.once('drain', done)
  gone.addEventListener('abort', done, { once: true })
  await pause(clock, PATIENCE, read.signal)
  raw.off('drain', done)
  gone.removeEventListener('abort', done)
  return !raw.writableNeedDrain
}

/** One server-sent event. JSON holds no line break. */
export function eventText (name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
