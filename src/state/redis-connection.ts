import { setMaxListeners } from 'node:events'
import type { Cluster } from 'ioredis'
import { pause, type Clock } from '../clock.js'
import { COMMAND_MS, type RedisClient } from './redis-client.js'
import { isPassing, isReply, isUnsent, redisError } from './redis-error.js'
import { StateError } from './store.js'

/** Milliseconds that a command has at least, once the connection is back. */
const LEAST_MS = 500
const START_POLL_MS = 100
const UNSENT_POLL_MS = 10
/** A client gives up where it is told to connect anew while it connects; that is to be no end. */
const REVIVE_MS = 1_000

/**
 * Commands to Redis, each answered or refused in bounded time.
 *
 * For a moment after the connection was lost a command waits for it to come back; from then on it is refused at once, so
 * that calls which can do without are not held up.
 */
export class RedisConnection {
  readonly #client: RedisClient
  readonly #where: string
  readonly #clock: Clock
  /** Why and since when there is no connection. */
  #down: { readonly since: number, error: unknown } | undefined
  readonly #closing = new AbortController()

  /** @param where `Redis at host:6379`, for messages */
  constructor (client: RedisClient, where: string, clock: Clock) {
    this.#client = client
    this.#where = where
    this.#clock = clock
    this.#down = { since: clock.elapsed(), error: undefined }
    // One for each command that is under way.
    setMaxListeners(0, this.#closing.signal, client)
    client.on('ready', () => { this.#down = undefined })
    client.on('close', () => { this.#down ??= { since: clock.elapsed(), error: undefined } })
    client.on('end', () => { clock.after(REVIVE_MS, () => { if (!this.#closing.signal.aborted && client.status === 'end') client.connect().catch(() => {}) }) })
    // The latest tells most: first the connection is lost, and then it is known why it does not come back.
    client.on('error', (error: unknown) => { if (client.status !== 'ready') this.#down = { since: this.#down?.since ?? clock.elapsed(), error } })
  }

  /**
   * Resolves once `check` has gone well; where waiting does not help it fails at once.
   * @param until on the clock that measures durations
   * @throws {StateError}
   */
  async open (check: (client: RedisClient) => Promise<unknown>, until: number): Promise<void> {
    const { elapsed } = this.#clock
    this.#client.connect().catch(() => {})
    let reason: unknown
    for (;;) {
      try {
        await this.#ready(until)
        return void await within(this.#clock, Math.max(0, until - elapsed()), check(this.#client), this.#closing.signal)
      } catch (error) {
        // That the last try was not answered in time says less than what was answered before.
        if (reason === undefined || isReply(error) || !isPassing(error)) reason = error
        if (!isPassing(error) || elapsed() + START_POLL_MS >= until) throw this.#told(reason, true)
      }
      await pause(this.#clock, START_POLL_MS, this.#closing.signal)
    }
  }

  /** @throws {StateError} that says what to do, within 2.5 s */
  async run<T> (command: (client: RedisClient) => Promise<T>): Promise<T> {
    const began = this.#clock.elapsed()
    const until = (this.#down?.since ?? began) + COMMAND_MS
    for (;;) {
      try {
        await this.#ready(until)
        // A cluster tries a command more than once, each time with a limit of its own.
        const left = Math.max(LEAST_MS, began + COMMAND_MS - this.#clock.elapsed())
        return await within(this.#clock, left, command(this.#client), this.#closing.signal)
      } catch (error) {
        if (!isUnsent(error) || this.#clock.elapsed() >= until) throw this.#told(error)
      }
      // The socket has ended, and the client is told of it in the next turn.
      await pause(this.#clock, UNSENT_POLL_MS, this.#closing.signal)
    }
  }

  /** Of a cluster, by what it said of itself last. */
  knownHosts (): Array<{ host: string, port: number }> {
    if (!this.#client.isCluster) return []
    return (this.#client as Cluster).nodes().map(({ options }) => ({ host: options.host as string, port: options.port as number }))
  }

  /** Ends at once; what is under way is refused. */
  close (): void {
    this.#closing.abort()
    this.#client.disconnect()
  }

  /** Resolves once commands are answered again, and sees to that; not before long where they are not, and not at all once it is closed. */
  async recovered (): Promise<void> {
    // Somebody else has just seen that Redis is there: there is no need to wait for the next try.
    if (this.#client.status === 'reconnecting') this.#client.connect().catch(() => {})
    while (!this.#isReady() && !this.#closing.signal.aborted) await pause(this.#clock, UNSENT_POLL_MS, this.#closing.signal)
  }

  /** @throws why there is no connection, once there is none for good or by `until` */
  async #ready (until: number): Promise<void> {
    if (this.#closing.signal.aborted) throw new StateError('the state store is closed')
    if (this.#isReady()) return
    const settled = new AbortController()
    const settle = (error: unknown): void => { if (!isPassing(error)) settled.abort() }
    const ready = (): void => settled.abort()
    this.#client.on('ready', ready).on('error', settle)
    // Not AbortSignal.any: what that makes of a signal which lives long is kept as long in Node 20.
    this.#closing.signal.addEventListener('abort', ready)
    if (this.#down?.error === undefined || isPassing(this.#down.error)) await pause(this.#clock, Math.max(0, until - this.#clock.elapsed()), settled.signal)
    this.#closing.signal.removeEventListener('abort', ready)
    this.#client.off('ready', ready).off('error', settle)
    if (!this.#isReady()) throw this.#down?.error ?? new Error('no connection')
  }

  #isReady (): boolean {
    return this.#client.status === 'ready'
  }

  #told (error: unknown, starting = false): StateError {
    if (this.#closing.signal.aborted) return new StateError('the state store is closed')
    // That a command went under with its connection says less than why there is none.
    return redisError(this.#where, isReply(error) ? error : this.#down?.error ?? error, starting)
  }
}

/** @throws an error that says so, where there is no answer in time or `signal` is aborted; the answer is not waited for then */
export async function within<T> (clock: Clock, ms: number, answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const late = (): void => reject(new Error('timed out'))
    const cancel = clock.after(ms, late)
    signal?.addEventListener('abort', late, { once: true })
    answer.then(resolve, reject).finally(() => {
      cancel()
      signal?.removeEventListener('abort', late)
    })
  })
}
