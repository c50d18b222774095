import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { readRedisUrl } from '../../src/config/redis-url.js'
import { Secret } from '../../src/secret.js'
import { openState } from '../../src/state/open.js'
import { createClient, createSubscriber } from '../../src/state/redis-client.js'
import { RedisConnection } from '../../src/state/redis-connection.js'
import { RedisNews } from '../../src/state/redis-news.js'
import { redisStore, type RedisStoreOptions } from '../../src/state/redis.js'
import type { Store } from '../../src/state/store.js'
import { manualClock } from '../helpers/manual-clock.js'
import { freePort, skip, startRedis } from '../helpers/redis.js'
import { startStateProcess } from '../helpers/state-process.js'
import { makeCa, makeCertificate } from '../helpers/tls.js'
import { gate, mint } from '../helpers/tokens.js'
import { Watch } from '../helpers/watch.js'

const bytes = (text: string): Buffer => Buffer.from(text)
const PREFIX = 'mcp-valet:'
const NO_TLS = { ca: undefined, cert: undefined, key: undefined, servername: undefined }

/** A failure anywhere in this file that nobody catches ends the run: clients of Redis tell their errors by events. */
process.on('unhandledRejection', (error) => { throw error })

async function opened (t: Test, url: string, options: Partial<RedisStoreOptions> = {}): Promise<Store> {
  const store = await redisStore(readRedisUrl(url), { prefix: PREFIX, ...options })
  t.teardown(async () => await store.close())
  return store
}

const open = (url: string, options: Partial<RedisStoreOptions> = {}) => async (): Promise<Store> => await redisStore(readRedisUrl(url), { prefix: PREFIX, ...options })
const text = async (store: Store, key: string): Promise<string> => Buffer.from(await store.read(key) as Uint8Array).toString()

t.test('with a real Redis', { skip }, async (t) => {
  // The store's own timers keep no process alive, and while Redis is lost nothing else here does.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))

  await t.test('four processes that count under one lease lose nothing', async (t) => {
    const { url } = await startRedis(t)
    const peers = await Promise.all(Array.from({ length: 4 }, async () => await startStateProcess(t, { url })))
    await Promise.all(peers.map(async (peer) => await peer.ask({ verb: 'count', key: 'n', times: 50 })))
    t.equal(await peers[0]?.ask({ verb: 'read', key: 'n' }), '200')
  })

  await t.test('a lease whose holder was killed passes on', async (t) => {
    const { url } = await startRedis(t)
    const [holder, ...others] = await Promise.all(Array.from({ length: 3 }, async () => await startStateProcess(t, { url, leaseMs: 1_000 })))
    await holder?.ask({ verb: 'hold', key: 'n' })
    const counts = others.map(async (peer) => await peer.ask({ verb: 'count', key: 'n', times: 5 }))
    holder?.signal('SIGKILL')
    await Promise.all(counts)
    t.equal(await others[0]?.ask({ verb: 'read', key: 'n' }), '10')
  })

  await t.test('row 14: who was stopped for longer than its lease does not overwrite what was saved meanwhile', async (t) => {
    const { url } = await startRedis(t)
    const [loser, winner] = await Promise.all([startStateProcess(t, { url, leaseMs: 700 }), startStateProcess(t, { url, leaseMs: 700 })])
    await loser.ask({ verb: 'hold', key: 'pair' })
    loser.signal('SIGSTOP')
    await winner.ask({ verb: 'hold', key: 'pair' })
    t.match(await winner.ask({ verb: 'finish', key: 'pair', value: 'of the winner' }), { written: 'written' })
    loser.signal('SIGCONT')
    t.strictSame(await loser.ask({ verb: 'finish', key: 'pair', value: 'of the loser' }), { held: false, lost: true, written: 'LeaseLostError' })
    t.equal(await loser.ask({ verb: 'read', key: 'pair' }), 'of the winner')
    await loser.ask({ verb: 'count', key: 'later', times: 1 })
  })

  await t.test('who was stopped for longer than its lease, and nobody wanted it, may save what it has', async (t) => {
    const { url } = await startRedis(t)
    const peer = await startStateProcess(t, { url, leaseMs: 300 })
    await peer.ask({ verb: 'hold', key: 'pair' })
    peer.signal('SIGSTOP')
    await new Promise((resolve) => setTimeout(resolve, 600))
    peer.signal('SIGCONT')
    t.strictSame(await peer.ask({ verb: 'finish', key: 'pair', value: 'new' }), { held: false, lost: true, written: 'written' })
  })

  await t.test('row 3: work that takes longer than its lease keeps it, as it gives signs of life', async (t) => {
    const { url } = await startRedis(t)
    const holder = await startStateProcess(t, { url, leaseMs: 1_500 })
    const other = await opened(t, url, { waitMs: 5_000 })
    await holder.ask({ verb: 'hold', key: 'pair' })
    await t.rejects(other.lease('pair', async () => {}), { name: 'StateError', message: /not to be had within 5 s/ })
    t.strictSame(await holder.ask({ verb: 'finish', key: 'pair', value: 'new' }), { held: true, lost: false, written: 'written' })
    t.equal(await other.lease('pair', async () => await text(other, 'pair')), 'new')
  })

  await t.test('a lease that somebody takes by force is lost at the next sign of life', async (t) => {
    const redis = await startRedis(t)
    const store = await opened(t, redis.url, { leaseMs: 300 })
    await store.lease('k', async (lease) => {
      await redis.cli('set', `${PREFIX}{state}:~last/k`, 'somebody else')
      await new Promise((resolve) => lease.lost.addEventListener('abort', resolve))
      t.match(lease.lost.reason, { name: 'LeaseLostError' })
      t.notOk(lease.held())
    })
  })

  await t.test('sidecars with the same address, prefix and key share their state; one with another key is told', async (t) => {
    const redis = await startRedis(t)
    const [key, another] = [mint('k') + mint('k'), mint('k') + mint('k')]
    const ref = (value: string) => ({ source: 'env X', read: async () => new Secret(value) })
    const config = { driver: 'redis', url: ref(redis.url), prefix: 'mcp-valet:', key: ref(key), previousKeys: [], tls: { ca: undefined, cert: undefined, key: undefined, serverName: undefined } } as const
    const [one, two, three, rotated] = await Promise.all([
      openState(config), openState(config), openState({ ...config, key: ref(another) }), openState({ ...config, key: ref(another), previousKeys: [ref(key)] }),
    ])
    t.teardown(async () => await Promise.all([one, two, three, rotated].map(async ({ vault }) => await vault.close())))
    await one.vault.write('n', { token: 'in-clear-it-would-be-found' })
    t.strictSame(await two.vault.read('n'), { token: 'in-clear-it-would-be-found' })
    t.strictSame(await rotated.vault.read('n'), { token: 'in-clear-it-would-be-found' })
    await t.rejects(three.vault.read('n'), { name: 'StateError', message: /does not open/ })
    await redis.cli('save')
    t.notOk(readFileSync(join(redis.folder, 'dump.rdb')).includes('in-clear'), 'row 46: it holds what is sealed, and nothing else of it')
  })

  await t.test('records that end are kept no longer by Redis itself, and leases leave nothing', async (t) => {
    const redis = await startRedis(t)
    const store = await opened(t, redis.url)
    await store.write('s', bytes('x'), { expiresAt: Date.now() + 60_000 })
    t.ok(Number(await redis.cli('pttl', `${PREFIX}{state}:s`)) > 50_000)
    await store.write('s', bytes('x'))
    t.equal(await redis.cli('pttl', `${PREFIX}{state}:s`), '-1')
    await store.write('over', bytes('x'), { expiresAt: Date.now() - 1 })
    await store.lease('s', async (lease) => await store.write('s', bytes('y'), { lease }))
    t.notMatch(await redis.cli('keys', '*'), /~lease|~last/)
    while (await redis.cli('exists', `${PREFIX}{state}:over`) !== '0');
  })

  await t.test('two prefixes, and two databases, share nothing', async (t) => {
    const { url } = await startRedis(t)
    const stores = [await opened(t, url), await opened(t, url, { prefix: 'other:' }), await opened(t, `${url}?db=1`)]
    for (const [index, store] of stores.entries()) await store.write('k', bytes(String(index)))
    for (const [index, store] of stores.entries()) t.equal(await text(store, 'k'), String(index))
  })

  await t.test('row 22: Redis lost: refused in bounded time with what to do; back by itself, and then anything may have changed', async (t) => {
    const redis = await startRedis(t)
    const store = await opened(t, redis.url)
    const told: Array<string | null> = []
    const heard = new Watch<string | null>()
    store.watch((key) => {
      told.push(key ?? null)
      heard.tell(key ?? null)
    })
    await store.write('a', bytes('1'))
    await redis.stop()
    const refused = { name: 'StateError', message: `Redis at ${redis.socket} cannot be reached (ECONNREFUSED): check that it runs, and state.url; mcp-valet connects again by itself` }
    let worked = false
    const calls = (): Array<Promise<unknown>> => [store.read('a'), store.write('a', bytes('2')), store.delete('a'), store.lease('a', async () => { worked = true }), store.list('a')[Symbol.asyncIterator]().next()]
    for (let round = 0; round < 2; round++) {
      for (const result of await Promise.allSettled(calls())) t.match(result, { status: 'rejected', reason: refused })
    }
    t.notOk(worked, 'no work without the lease')
    await redis.start()
    await heard.until((key) => key === null, told)
    const other = await opened(t, redis.url)
    await other.write('b', bytes('1'))
    await heard.until((key) => key === 'b', told)
    await store.write('a', bytes('3'))
    t.equal(await text(store, 'a'), '3')
  })

  await t.test('records that are read while another server takes over are not taken for all there are', async (t) => {
    const redis = await startRedis(t)
    const store = await opened(t, redis.url)
    for (let i = 0; i < 3_000; i += 500) await Promise.all(Array.from({ length: 500 }, async (_, j) => await store.write(`r/${i + j}`, bytes('x'))))
    const records = store.list('r/')[Symbol.asyncIterator]()
    await records.next()
    await redis.stop()
    await redis.start()
    const rest = async (): Promise<void> => { while ((await records.next()).done !== true); }
    await t.rejects(rest(), { name: 'StateError', message: /has failed over to another server while its records were read: they are to be read anew/ })
  })

  await t.test('a Redis that hangs is as good as lost, and what it did not answer is not said twice', async (t) => {
    const redis = await startRedis(t)
    const store = await opened(t, redis.url)
    redis.signal('SIGSTOP')
    await t.rejects(store.read('a'), { name: 'StateError', message: /does not answer in time|cannot be reached/ })
    await t.rejects(store.write('late', bytes('1')), { name: 'StateError' })
    redis.signal('SIGCONT')
    while (await store.write('a', bytes('1')).then(() => false, () => true)) await new Promise((resolve) => setTimeout(resolve, 50))
    t.equal(await text(store, 'a'), '1')
  })

  await t.test('a subscription on which nothing comes is asked whether it is still there, and made anew', async (t) => {
    const redis = await startRedis(t)
    const clock = manualClock()
    const gaps = new Watch<true>()
    const heard: string[] = []
    const news = new RedisNews({
      subscriber: (nth) => createSubscriber(readRedisUrl(redis.url), NO_TLS, nth), channel: 'c', clock, onMessage: (message) => heard.push(message), onGap: () => gaps.tell(true),
    })
    t.teardown(() => news.close())
    await news.open(10_000)
    for (let beats = 0; beats < 3; beats++) {
      await clock.advance(5_000)
      while (clock.timers === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await redis.cli('publish', 'c', 'm')
    while (heard.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    redis.signal('SIGSTOP')
    await clock.advance(5_000)
    // The answer is waited for by a clock that the test does not own.
    while (clock.timers === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    redis.signal('SIGCONT')
    const gap = gaps.until(() => true)
    await clock.advance(50)
    await gap
    t.strictSame(heard, ['m'])
  })

  await t.test('a client that has given up is told to try again', async (t) => {
    const redis = await startRedis(t)
    const client = createClient(readRedisUrl(redis.url), NO_TLS, () => 0)
    const connection = new RedisConnection(client, 'Redis', systemClock)
    t.teardown(() => connection.close())
    await connection.open(async (client) => await client.ping(), systemClock.elapsed() + 4_000)
    client.disconnect()
    t.equal(await connection.run(async (client) => await client.ping()), 'PONG')
  })

  await t.test('it can be closed at once while Redis is lost, and while it hangs', async (t) => {
    for (const loss of ['stop', 'hang'] as const) {
      const redis = await startRedis(t)
      const store = await redisStore(readRedisUrl(redis.url), { prefix: PREFIX })
      if (loss === 'stop') await redis.stop()
      else redis.signal('SIGSTOP')
      const waits = t.rejects(store.read('a'), { name: 'StateError' })
      await store.close()
      await waits
      await t.rejects(store.read('a'), { name: 'StateError', message: 'the state store is closed' })
      redis.signal('SIGCONT')
    }
  })

  await t.test('at the start: what is wrong is said, and no password with it', async (t) => {
    const password = mint('p')
    const wrong = mint('w')
    const locked = await startRedis(t, { port: await freePort(), args: ['--requirepass', password] })
    const at = `Redis at 127.0.0.1:${locked.port}`
    const nobody = await freePort()
    const cases: Array<[url: string, message: RegExp]> = [
      [`redis://127.0.0.1:${nobody}`, new RegExp(`^Redis at 127.0.0.1:${nobody} cannot be reached \\(ECONNREFUSED\\): check that it runs`)],
      ['redis://no-such-host.invalid', /^Redis at no-such-host\.invalid:6379 cannot be reached \((?:ENOTFOUND|EAI_AGAIN)\)/],
      ['unix:/no/such/socket', /^Redis at \/no\/such\/socket cannot be reached \(ENOENT\)/],
      [locked.url, new RegExp(`^${at} asks for a password: put it into state\\.url`)],
      [`redis://:${wrong}@127.0.0.1:${locked.port}`, new RegExp(`^${at} refuses the user or the password: correct state\\.url`)],
      [`redis://somebody:${wrong}@127.0.0.1:${locked.port}`, new RegExp(`^${at} refuses the user or the password`)],
      [`redis://:${password}@127.0.0.1:${locked.port}/99`, new RegExp(`^${at} has no database of that number`)],
      [`redis+cluster://:${password}@127.0.0.1:${locked.port}`, new RegExp(`^${at} is no cluster: use redis://`)],
      [`redis+sentinel://127.0.0.1:${nobody}/mymaster`, new RegExp(`^Redis behind the Sentinels at 127.0.0.1:${nobody} is not known, as none of its Sentinels can be reached`)],
      [`rediss://:${password}@127.0.0.1:${locked.port}`, new RegExp(`^${at} cannot be reached`)],
    ]
    await Promise.all(cases.map(async ([url, message]) => {
      const error = await open(url)().then(() => undefined, (error: Error) => error)
      t.match(error, { name: 'StateError', message })
      for (const secret of [password, wrong]) t.notMatch(`${error?.stack} ${JSON.stringify(error)} ${String((error as Error).cause)}`, secret)
    }))
    const store = await opened(t, `redis://default:${password}@127.0.0.1:${locked.port}/3`)
    await store.write('a', bytes('1'))
    t.equal(await locked.cli('-a', password, '-n', '3', '--no-auth-warning', 'exists', `${PREFIX}{state}:a`), '1')
  })

  await t.test('a server that takes connections and says nothing is not waited for', async (t) => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => { sockets.add(socket.on('error', () => {})) })
    const port = await freePort()
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    t.teardown(async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    })
    await t.rejects(open(`redis://127.0.0.1:${port}`), { name: 'StateError', message: /does not answer in time|cannot be reached/ })
  })

  await t.test('a Redis that is not there yet is waited for', async (t) => {
    const redis = await startRedis(t)
    await redis.stop()
    const store = opened(t, redis.url)
    await new Promise((resolve) => setTimeout(resolve, 300))
    await redis.start()
    await (await store).write('a', bytes('1'))
  })

  await t.test('what Redis cannot do is said in words of its operator', async (t) => {
    const primary = await startRedis(t, { port: await freePort() })
    const replica = await startRedis(t, { args: ['--replicaof', '127.0.0.1', String(primary.port)] })
    await t.rejects(open(replica.url), { name: 'StateError', message: /is a replica that takes no writes: name the primary in state\.url/ })

    const store = await opened(t, primary.url)
    await primary.cli('lpush', `${PREFIX}{state}:list`, 'x')
    await t.rejects(store.read('list'), { name: 'StateError', message: /holds something of another program under these keys: use another state\.prefix/ })
    t.strictSame(await Promise.all([(await store.list('list')[Symbol.asyncIterator]().next()).done]), [true])

    await primary.cli('config', 'set', 'maxmemory', '1')
    await t.rejects(store.write('a', bytes('x')), { name: 'StateError', message: /is out of memory and keeps nothing more: raise its maxmemory/ })
    await t.rejects(store.lease('a', async () => {}), { name: 'StateError', message: /is out of memory/ })
    await t.rejects(open(primary.url), { name: 'StateError', message: /is out of memory/ })
    await primary.cli('config', 'set', 'maxmemory', '0')

    await primary.cli('config', 'set', 'min-replicas-to-write', '3')
    await t.rejects(store.write('a', bytes('x')), { name: 'StateError', message: /has too few replicas/ })
    await primary.cli('config', 'set', 'min-replicas-to-write', '0')

    await primary.cli('set', `${PREFIX}{state}:~format`, '2')
    await t.rejects(open(primary.url), { name: 'StateError', message: /was written by a newer version of mcp-valet: run that version, or name another state\.prefix/ })
  })

  await t.test('a user with too few rights is told what it needs, one with those is enough', async (t) => {
    const redis = await startRedis(t, { port: await freePort() })
    const password = mint('p')
    const url = `redis://valet:${password}@127.0.0.1:${redis.port}`
    const needed = ['+get', '+mget', '+set', '+del', '+pexpire', '+pttl', '+scan', '+info', '+eval', '+publish', '+subscribe', '+ping', '+client|setname']
    const user = async (...rules: string[]): Promise<string> => await redis.cli('acl', 'setuser', 'valet', 'reset', 'on', `>${password}`, ...rules)
    await user('~other:*', ...needed)
    const refused = { name: 'StateError', message: /does not let this user do what mcp-valet needs: allow it the keys and the channel that begin with state\.prefix, and the commands get, mget/ }
    await t.rejects(open(url), refused)
    await user(`~${PREFIX}*`, ...needed)
    await t.rejects(open(url), refused, 'without the channel nobody would hear of a revoked session')
    await user(`~${PREFIX}*`, `&${PREFIX}*`, ...needed)
    const store = await opened(t, url)
    const other = await opened(t, url)
    const heard = gate()
    other.watch(() => heard.open())
    await store.lease('a', async (lease) => await store.write('a', bytes('1'), { lease, expiresAt: Date.now() + 60_000 }))
    await heard.opened
    for await (const [key] of store.list('')) t.equal(key, 'a')
    await store.delete('a')
  })

  await t.test('TLS is verified: by the CA that is named, and for the name', async (t) => {
    const ca = await makeCa()
    const folder = t.testdir()
    const own = await makeCertificate(['redis.test'], ca)
    const files = { cert: own.cert, key: own.key, ca: ca.cert }
    for (const [name, pem] of Object.entries(files)) {
      writeFileSync(join(folder, name), pem)
      chmodSync(join(folder, name), 0o600)
    }
    const port = await freePort()
    const tls = ['--tls-port', String(port), '--tls-cert-file', join(folder, 'cert'), '--tls-key-file', join(folder, 'key'), '--tls-ca-cert-file', join(folder, 'ca')]
    await startRedis(t, { args: [...tls, '--tls-auth-clients', 'no'] })
    const url = `rediss://127.0.0.1:${port}`
    const material = { ca: ca.cert, cert: undefined, key: undefined, servername: 'redis.test' }
    await t.rejects(open(url), { name: 'StateError', message: /shows a certificate that is not trusted \([A-Z_]+\): name its CA under state\.tls\.ca/ })
    await t.rejects(open(url, { tls: { ...material, servername: 'another.test' } }), { name: 'StateError', message: /not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)/ })
    const store = await opened(t, url, { tls: material })
    await store.write('a', bytes('1'))
    t.equal(await text(store, 'a'), '1')
  })
})
