import type { Redis } from 'ioredis'
import { pause, type Clock } from '../clock.js'
import { backoff } from './redis-client.js'
import { isPassing } from './redis-error.js'

/** Milliseconds between two questions whether the connection is still whole: nothing else is ever sent on it. */
const HEARTBEAT_MS = 5_000

export interface NewsOptions {
  /** A client that does not connect again. @param nth of those that were made */
  readonly subscriber: (nth: number) => Redis
  readonly channel: string
  readonly clock: Clock
  readonly onMessage: (message: string) => void
  /** Subscribed anew: what was published meanwhile was not heard. */
  readonly onGap: () => void
}

/** What the others publish, for as long as it is open: connected again after each loss. */
export class RedisNews {
  readonly #options: NewsOptions
  #made = 0
  #failures = 0
  #client: Redis | undefined
  #isOpen = false
  #stop: (() => void) | undefined

  constructor (options: NewsOptions) {
    this.#options = options
  }

  /** @param until on the clock that measures durations. @throws what the client says where it is not subscribed by then */
  async open (until: number): Promise<void> {
    const { clock } = this.#options
    for (;;) {
      try {
        await this.#subscribe()
        this.#isOpen = true
        return
      } catch (error) {
        if (!isPassing(error) || clock.elapsed() >= until) throw error
      }
      await pause(clock, backoff(++this.#failures, clock.random))
    }
  }

  close (): void {
    this.#isOpen = false
    this.#stop?.()
    this.#client?.disconnect()
  }

  async #subscribe (): Promise<void> {
    const client = this.#options.subscriber(this.#made++)
    this.#client = client
    let reason: unknown
    client.on('error', (error: unknown) => { reason ??= error })
    client.on('message', (_channel, message) => this.#options.onMessage(message))
    client.once('end', () => { if (client === this.#client) this.#again() })
    try {
      await client.connect()
      await client.subscribe(this.#options.channel)
    } catch (error) {
      client.disconnect()
      throw reason ?? error
    }
    this.#failures = 0
    this.#beat(client)
  }

  #beat (client: Redis): void {
    this.#stop = this.#options.clock.after(HEARTBEAT_MS, () => {
      client.ping().then(() => { if (client === this.#client) this.#beat(client) }, () => client.disconnect())
    })
  }

  #again (): void {
    if (!this.#isOpen) return
    const { clock } = this.#options
    this.#stop?.()
    this.#stop = clock.after(backoff(++this.#failures, clock.random), () => {
      if (this.#isOpen) this.#subscribe().then(this.#options.onGap, () => {})
    })
  }
}
