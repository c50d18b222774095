import type { Cluster, Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { readRedisUrl } from '../../../src/config/redis-url.js'
import { Secret } from '../../../src/secret.js'
import { backoff, createClient, createSubscriber, readTls, type TlsMaterial } from '../../../src/state/redis-client.js'
import { RedisKeys } from '../../../src/state/redis-keys.js'

const TLS = { ca: 'ca', cert: 'cert', key: 'key', servername: 'redis.test' }
const NO_TLS = { ca: undefined, cert: undefined, key: undefined, servername: undefined }

/** None of them connects before it is told to. */
function optionsOf (t: Test, url: string, tls: TlsMaterial = NO_TLS): Redis['options'] {
  const client = createClient(readRedisUrl(url), tls, () => 0) as Redis
  t.teardown(() => client.disconnect())
  return client.options
}

t.test('TLS is verified wherever there is some, the Sentinels included', async (t) => {
  const verified = { rejectUnauthorized: true, ca: 'ca', cert: 'cert', key: 'key', servername: 'redis.test' }
  t.strictSame(optionsOf(t, 'rediss://h', TLS).tls, verified)
  t.strictSame(optionsOf(t, 'rediss://h').tls, { rejectUnauthorized: true })
  t.equal(optionsOf(t, 'redis://h', TLS).tls, undefined)
  t.match(optionsOf(t, 'rediss+sentinel://h/main', TLS), { tls: verified, sentinelTLS: verified, enableTLSForSentinelMode: true })
  t.match(optionsOf(t, 'redis+sentinel://h/main', TLS), { tls: undefined, sentinelTLS: undefined, enableTLSForSentinelMode: false })
  const cluster = createClient(readRedisUrl('rediss+cluster://h'), TLS, () => 0) as Cluster
  t.teardown(() => cluster.disconnect())
  t.strictSame(cluster.options.redisOptions?.tls, verified)
  cluster.options.dnsLookup?.('name.test', (_error, address) => t.equal(address, 'name.test', 'a name stays one, for its certificate'))
  t.strictSame(await readTls({
    ca: { source: 'file ca', read: async () => new Secret('ca') },
    cert: undefined,
    key: { source: 'file key', read: async () => new Secret('key') },
    serverName: 'n',
  }), { ca: 'ca', cert: undefined, key: 'key', servername: 'n' })
})

t.test('logins go to whom they are for', async (t) => {
  t.match(optionsOf(t, 'redis+sentinel://u:p@h:1,i/main/2?sentinel_username=su&sentinel_password=sp'), {
    username: 'u', password: 'p', sentinelUsername: 'su', sentinelPassword: 'sp', name: 'main', db: 2, sentinels: [{ host: 'h', port: 1 }, { host: 'i', port: 26379 }],
  })
  t.match(optionsOf(t, 'unix:/s?password=p'), { path: '/s', password: 'p', username: null })
})

t.test('nothing is queued, sent again or waited for without end', async (t) => {
  const options = optionsOf(t, 'redis://h')
  t.match(options, { enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, commandTimeout: 2_000, connectTimeout: 2_000 })
  t.ok(options.reconnectOnError?.(new Error('READONLY You can\'t write against a read only replica.')))
  t.notOk(options.reconnectOnError?.(new Error('OOM')))
  t.strictSame([1, 2, 3, 7, 1_000].map((times) => backoff(times, () => 0)), [50, 100, 200, 2_000, 2_000])
  t.equal(backoff(1_000, () => 0.999), 2_000 * (1 - 0.5 * 0.999))
  t.equal(options.retryStrategy?.(1), 50)
  t.equal(optionsOf(t, 'redis+sentinel://h/main').sentinelRetryStrategy?.(100), 250)
})

t.test('subscribers to a cluster go to one node after the other, and none connects again by itself', async (t) => {
  const address = readRedisUrl('redis+cluster://a:1,b:2')
  const nodes = [0, 1, 2].map((nth) => {
    const client = createSubscriber(address, NO_TLS, nth)
    t.teardown(() => client.disconnect())
    t.equal(client.options.retryStrategy, null)
    t.equal(client.options.sentinelRetryStrategy?.(1), null)
    return `${client.options.host}:${client.options.port}`
  })
  t.strictSame(nodes, ['a:1', 'b:2', 'a:1'])
})

t.test('names in Redis: one hash tag a prefix, patterns that match themselves, messages of others', async (t) => {
  const keys = new RedisKeys('a*[b]', 3, 'me')
  t.equal(keys.record('k'), 'a*[b]{state}:k')
  t.equal(keys.channel, 'a*[b]{state}:~changes/3')
  t.equal(keys.pattern('p?\\'), 'a\\*\\[b\\]{state}:p\\?\\\\*')
  t.equal(keys.keyOf(keys.record('k')), 'k')
  t.equal(keys.keyOf(keys.lease('k')), undefined)
  const other = new RedisKeys('a*[b]', 3, 'other')
  t.strictSame(keys.read(other.written('a b')), { written: 'a b' })
  t.strictSame(keys.read(other.released('k')), { released: 'k' })
  for (const message of [keys.written('k'), keys.released('k'), '', 'x', 'other', 'other ', 'other xk']) t.equal(keys.read(message), undefined)
})
