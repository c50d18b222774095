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

/**
 * What a watcher is told at one look: server-sent events, or nothing.
 * @param tick counts the moments at which somebody looks
 * @throws {ControlError} where it may watch no longer
 */
export type Look = (tick: number) => Promise<string>

/** Makes once what all who look at one moment are told. */
export function oncePerTick<T> (make: () => T): (tick: number) => T {
  let last: { readonly tick: number, readonly made: T } | undefined
  return (tick) => {
    if (last === undefined || tick > last.tick) last = { tick, made: make() }
    return last.made
  }
}

/**
 * Those who watch by server-sent events (WHATWG HTML §9.2). They all look at the same moments, but for the first look of each.
 * One who does not read holds no more than one look's worth.
 */
export class Watchers {
  readonly #options: WatchersOptions
  /** What ends each of them. */
  readonly #leave = new Set<() => void>()
  /** Who waits for the next tick. */
  readonly #waiting = new Set<() => void>()
  #tick = 0
  #isTicking = false

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
    // Whoever comes is told how things are now, and not at the tick before.
    this.#tick++
    while (!gone.aborted) {
      const text = await look(this.#tick)
      if (gone.aborted) return
      if (text !== '' && !raw.write(text) && !await drained(raw, this.#options.clock, gone)) return
      await this.#nextTick(gone)
    }
  }

  /** Resolves with the next tick, or as soon as this one has gone. */
  async #nextTick (gone: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done)
        gone.removeEventListener('abort', done)
        resolve()
      }
      if (gone.aborted) return resolve()
      this.#waiting.add(done)
      gone.addEventListener('abort', done)
      if (this.#isTicking) return
      this.#isTicking = true
      this.#options.clock.after(EVERY, () => {
        this.#isTicking = false
        this.#tick++
        for (const wake of [...this.#waiting]) wake()
      })
    })
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
