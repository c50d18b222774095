import { randomBytes } from 'node:crypto'
import { systemClock, type Clock } from '../clock.js'
import type { RedisAddress } from '../config/redis-url.js'
import { LEASE_MS, Leases, WAIT_MS } from './leases.js'
import { createClient, createSubscriber, type RedisClient, type TlsMaterial } from './redis-client.js'
import { RedisConnection, within } from './redis-connection.js'
import { redisError } from './redis-error.js'
import { RedisKeys } from './redis-keys.js'
import { RedisClaim } from './redis-lease.js'
import { RedisNews } from './redis-news.js'
import { LeaseLostError, StateError, type Store } from './store.js'

/** What this version of mcp-valet writes. */
const FORMAT = 1
/** Records that are fetched in one go, and keys that Redis looks at in one step of a scan. */
const BATCH = 500
const SCAN_COUNT = 1_000
/** Milliseconds for which a start waits for a Redis that is not there yet. */
const START_MS = 4_500

/**
 * KEYS: record, who had the lease last. ARGV: value, milliseconds to keep it or '', token of the lease or '', channel, message.
 * In one script, so that nobody takes the lease between the look and the write.
 */
const WRITE = `
if ARGV[3] ~= '' and redis.call('get', KEYS[2]) ~= ARGV[3] then return 0 end
if ARGV[2] == '' then redis.call('set', KEYS[1], ARGV[1]) else redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2]) end
redis.call('publish', ARGV[4], ARGV[5])
return 1`

/** KEYS: record. ARGV: channel, message. */
const DELETE = `
if redis.call('del', KEYS[1]) == 1 then redis.call('publish', ARGV[1], ARGV[2]) end
return 1`

/**
 * KEYS: any. ARGV: cursor, pattern, count. Returns cursor, names, and which server has answered.
 * As a script it goes to the node that has the key, and so all of the keys. A cursor means something to that server alone:
 * after a failover the next one would pass over records with it.
 */
const SCAN = `
local found = redis.call('scan', ARGV[1], 'match', ARGV[2], 'count', ARGV[3])
return { found[1], found[2], string.match(redis.call('info', 'server'), 'run_id:(%w+)') or '' }`

export interface RedisStoreOptions {
  readonly prefix: string
  readonly tls?: TlsMaterial
  readonly clock?: Clock
  /** Milliseconds after which a lease passes on whose owner gives no sign of life. */
  readonly leaseMs?: number
  /** Milliseconds after which whoever waits for a lease is refused. */
  readonly waitMs?: number
}

/**
 * Records in Redis, shared by every sidecar that is given the same address and prefix.
 *
 * A write resolves once Redis has answered; how long it lasts is then for Redis to say. With its default of snapshots the
 * last minutes may be lost in a crash, with `appendonly yes` the last second, with `appendfsync always` nothing; a
 * failover loses what had not reached the replica. A lost pair of rotating tokens is a lost login, since the one that
 * comes back was spent already. `WAIT` is not used: it promises neither the disk nor that the replica which got the
 * write becomes the primary, and it would hold up each renewal where a replica is away; `min-replicas-to-write` refuses
 * the write instead, which is told here.
 *
 * A write that is refused for want of an answer may have been done; with a lease it does no harm, as the next reader has
 * to take that first.
 *
 * Names that begin with `~` are the store's own.
 * @throws {StateError} where Redis cannot be used within 5 s: the message says what to do
 */
export async function redisStore (address: RedisAddress, options: RedisStoreOptions): Promise<Store> {
  const { prefix, tls = NO_TLS, clock = systemClock, leaseMs = LEASE_MS, waitMs = WAIT_MS } = options
  const where = whereOf(address)
  const keys = new RedisKeys(prefix, address.db, randomBytes(9).toString('base64url'))
  const connection = new RedisConnection(createClient(address, tls, clock.random), where, clock)
  const leases = new Leases((key) => new RedisClaim(key, { connection, keys, leaseMs }), { clock, leaseMs, waitMs })
  const listeners = new Set<(key: string | undefined) => void>()
  const tell = (key: string | undefined): void => {
    for (const listener of listeners) {
      try {
        listener(key)
      } catch {
        // A listener that fails is no reason for others not to hear.
      }
    }
  }
  const news = new RedisNews({
    // A cluster may have other nodes by now than those it was known by at first.
    subscriber: (nth) => createSubscriber({ ...address, hosts: [...address.hosts, ...connection.knownHosts()] }, tls, nth),
    channel: keys.channel,
    clock,
    onMessage (message) {
      const heard = keys.read(message)
      if (heard === undefined) return
      if ('written' in heard) tell(heard.written)
      else leases.wake(heard.released)
    },
    // Whoever hears it reads everything anew, so that has to be possible.
    onGap: () => { void connection.recovered().then(() => tell(undefined)) },
  })
  const close = (): void => {
    leases.close()
    listeners.clear()
    news.close()
    connection.close()
  }

  try {
    const until = clock.elapsed() + START_MS
    await connection.open(async (client) => await checkFormat(client, keys, address.db), until)
    await within(clock, Math.max(0, until - clock.elapsed()), news.open(until))
  } catch (error) {
    close()
    throw redisError(where, error, true)
  }

  return {
    shared: true,
    read: async (key) => await connection.run(async (client) => await client.getBuffer(keys.record(key))) ?? undefined,
    async write (key, value, { expiresAt, lease } = {}) {
      const claim = lease === undefined ? undefined : leases.claimOf(key, lease)
      // What is over already is kept for a moment: 0 would be an error.
      const px = expiresAt === undefined ? '' : String(Math.max(1, Math.ceil(expiresAt - clock.now())))
      const done = await connection.run(async (client) => await client.eval(
        WRITE, 2, keys.record(key), claim?.lastKey ?? keys.record(key), Buffer.from(value), px, claim?.token ?? '', keys.channel, keys.written(key)))
      if (done !== 1) throw new LeaseLostError(key)
    },
    async delete (key) {
      await connection.run(async (client) => await client.eval(DELETE, 1, keys.record(key), keys.channel, keys.written(key)))
    },
    async * list (start) {
      // A scan may show a key more than once.
      const seen = new Set<string>()
      let [cursor, server] = ['0', '']
      do {
        const [next, names, answered] = await connection.run(async (client) => await client.eval(SCAN, 1, keys.format, cursor, keys.pattern(start), SCAN_COUNT)) as [string, string[], string]
        if (server !== '' && server !== answered) throw new StateError(`${where} has failed over to another server while its records were read: they are to be read anew`)
        const fresh = names.filter((name) => keys.keyOf(name) !== undefined && !seen.has(name))
        for (const name of fresh) seen.add(name)
        for (let at = 0; at < fresh.length; at += BATCH) yield * await fetch(fresh.slice(at, at + BATCH))
        ;[cursor, server] = [next, answered]
      } while (cursor !== '0')
    },
    lease: async (key, work) => await leases.run(key, work),
    watch (listener) {
      const told = (key: string | undefined): void => listener(key)
      listeners.add(told)
      return () => { listeners.delete(told) }
    },
    close: async () => close(),
  }

  async function fetch (names: readonly string[]): Promise<Array<readonly [key: string, value: Uint8Array]>> {
    const values = await connection.run(async (client) => await client.mgetBuffer([...names]))
    // One that is not there any more was deleted meanwhile.
    return names.flatMap((name, index) => {
      const value = values[index]
      return value === null || value === undefined ? [] : [[keys.keyOf(name) as string, value] as const]
    })
  }
}

const NO_TLS: TlsMaterial = { ca: undefined, cert: undefined, key: undefined, servername: undefined }

function whereOf ({ kind, socket, hosts }: RedisAddress): string {
  if (socket !== undefined) return `Redis at ${socket}`
  const all = hosts.map(({ host, port }) => `${host}:${port}`).join(', ')
  return kind === 'sentinel' ? `Redis behind the Sentinels at ${all}` : `Redis at ${all}`
}

/** Writes at once, so that a replica, a full memory or a user without rights is found at the start. */
async function checkFormat (client: RedisClient, keys: RedisKeys, db: number): Promise<void> {
  // A client goes on with database 0 where it is refused another.
  if (db !== 0 && 'select' in client) await client.select(db)
  const format = await client.get(keys.format)
  if (Number(format ?? 0) > FORMAT) throw new StateError('the state in Redis was written by a newer version of mcp-valet: run that version, or name another state.prefix')
  await client.set(keys.format, FORMAT)
}
