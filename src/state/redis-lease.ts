import { randomBytes } from 'node:crypto'
import type { Claim } from './leases.js'
import type { RedisConnection } from './redis-connection.js'
import type { RedisKeys } from './redis-keys.js'

/** Milliseconds between two tries at a lease that is held; word of its end comes sooner, where it is not lost. */
const POLL_MS = 250
/** Milliseconds for which it is known who had a lease last, after its time is over: longer than any work takes. */
const MEMORY_MS = 3_600_000

/** KEYS: lease, who had it last. ARGV: token, milliseconds, milliseconds to remember. Returns 1, or -(milliseconds left). */
const TAKE = `
if redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2]) then
  redis.call('set', KEYS[2], ARGV[1], 'px', ARGV[3])
  return 1
end
return -redis.call('pttl', KEYS[1])`

/** As TAKE. It may have run out while nobody wanted it. */
const RENEW = `
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
redis.call('pexpire', KEYS[2], ARGV[3])
return 1`

/** KEYS: lease, who had it last. ARGV: token, channel, message. */
const RELEASE = `
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1], KEYS[2])
redis.call('publish', ARGV[2], ARGV[3])
return 1`

export interface RedisLeaseOptions {
  readonly connection: RedisConnection
  readonly keys: RedisKeys
  readonly leaseMs: number
}

/**
 * A lease among all that share one Redis. Its time is counted by Redis, from when it is told; who had it last is known
 * beyond that, so that a write can be refused exactly where somebody else has had it since.
 */
export class RedisClaim implements Claim {
  /** Drawn anew for each lease, so that nobody can take one for another. */
  readonly token = randomBytes(18).toString('base64url')
  readonly #key: string
  readonly #options: RedisLeaseOptions

  constructor (key: string, options: RedisLeaseOptions) {
    this.#key = key
    this.#options = options
  }

  /** The key under which it is written who had the lease last. */
  get lastKey (): string {
    return this.#options.keys.last(this.#key)
  }

  async take (): Promise<true | number> {
    try {
      const left = await this.#eval(TAKE, [this.token, this.#options.leaseMs, MEMORY_MS])
      return left === 1 ? true : Math.max(1, Math.min(POLL_MS, -left))
    } catch (error) {
      // It may have been taken all the same, by nobody then.
      void this.release().catch(() => {})
      throw error
    }
  }

  async renew (): Promise<boolean> {
    return await this.#eval(RENEW, [this.token, this.#options.leaseMs, MEMORY_MS]) === 1
  }

  async release (): Promise<void> {
    const { keys } = this.#options
    await this.#eval(RELEASE, [this.token, keys.channel, keys.released(this.#key)])
  }

  async #eval (script: string, values: Array<string | number>): Promise<number> {
    const { connection, keys } = this.#options
    return Number(await connection.run(async (client) => await client.eval(script, 2, keys.lease(this.#key), this.lastKey, ...values)))
  }
}
