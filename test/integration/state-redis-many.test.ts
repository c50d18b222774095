import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { readRedisUrl } from '../../src/config/redis-url.js'
import { redisStore } from '../../src/state/redis.js'
import { LeaseLostError, type Store } from '../../src/state/store.js'
import { freePort, skip, startRedis, type RedisServer } from '../helpers/redis.js'
import { mint } from '../helpers/tokens.js'
import { Watch } from '../helpers/watch.js'

process.on('unhandledRejection', (error) => { throw error })

const bytes = (text: string): Buffer => Buffer.from(text)
const text = async (store: Store, key: string): Promise<string> => Buffer.from(await store.read(key) as Uint8Array).toString()

async function opened (t: Test, url: string): Promise<Store> {
  const store = await redisStore(readRedisUrl(url), { prefix: 'mcp-valet:' })
  t.teardown(async () => await store.close())
  return store
}

/** Resolves once this store was told of a change by others; null is any change. */
function listening (store: Store): (fits: (key: string | null) => boolean) => Promise<string | null> {
  const told: Array<string | null> = []
  const heard = new Watch<string | null>()
  store.watch((changed) => {
    const key = changed ?? null
    told.push(key)
    heard.tell(key)
  })
  return async (fits) => await heard.until(fits, told)
}

/** Tries until it works, which a failover takes a while for; each try ends in bounded time with a StateError. */
async function eventually (work: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    const error = await work().then(() => undefined, (error: Error) => error)
    if (error === undefined) return
    if (error.name !== 'StateError' || tries > 100) throw error
    await sleep(100)
  }
}

t.test('row 22: Sentinel: after a failover it goes on with the new primary', { skip }, async (t) => {
  const [password, guard] = [mint('p'), mint('s')]
  const [first, second, sentinel] = [await freePort(), await freePort(), await freePort()]
  const login = ['--requirepass', password, '--masterauth', password]
  const primary = await startRedis(t, { port: first, args: login })
  await startRedis(t, { port: second, args: [...login, '--replicaof', '127.0.0.1', String(first)] })
  // A Sentinel looks for replicas when it starts, and then every 10 s.
  while (!/state=online/.test(await primary.cli('-a', password, '--no-auth-warning', 'info', 'replication'))) await sleep(50)
  const folder = mkdtempSync(join(tmpdir(), 'valet-sentinel-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const config = join(folder, 'sentinel.conf')
  writeFileSync(config, [
    `port ${sentinel}`, 'bind 127.0.0.1', `dir ${folder}`, `requirepass ${guard}`,
    `sentinel monitor mymaster 127.0.0.1 ${first} 1`, `sentinel auth-pass mymaster ${password}`,
    'sentinel down-after-milliseconds mymaster 500', 'sentinel failover-timeout mymaster 2000', '',
  ].join('\n'))
  await startRedis(t, { port: sentinel, sentinel: config })
  const url = `redis+sentinel://:${password}@127.0.0.1:${sentinel}/mymaster/1?sentinel_password=${guard}`
  const [store, other] = [await opened(t, url), await opened(t, url)]
  const hears = listening(other)
  await store.write('a', bytes('1'))
  await hears((key) => key === 'a')
  t.equal(await primary.cli('-a', password, '--no-auth-warning', 'wait', '1', '5000'), '1')
  await t.rejects(redisStore(readRedisUrl(url.replace('mymaster', 'another')), { prefix: 'mcp-valet:' }), { name: 'StateError', message: /^Redis behind the Sentinels at / })
  await t.rejects(redisStore(readRedisUrl(url.replace(guard, mint('w'))), { prefix: 'mcp-valet:' }), { name: 'StateError', message: /^Redis behind the Sentinels at / })

  await primary.stop()
  await eventually(async () => await store.lease('a', async (lease) => await store.write('a', bytes('2'), { lease })))
  t.equal(await text(store, 'a'), '2')
  await hears((key) => key === null)
  await store.write('b', bytes('1'))
  await hears((key) => key === 'b')
  t.equal(await text(other, 'a'), '2')
})

/** Three primaries, each with a third of the slots. */
async function startCluster (t: Test): Promise<RedisServer[]> {
  const nodes: RedisServer[] = []
  while (nodes.length < 3) {
    const port = await freePort()
    // The nodes talk to one another on a port that is higher by ten thousand.
    if (port > 55_000) continue
    nodes.push(await startRedis(t, { port, args: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1000', '--cluster-require-full-coverage', 'no'] }))
  }
  await nodes[0]?.cli('--cluster', 'create', ...nodes.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes')
  for (const node of nodes) while (!/cluster_state:ok/.test(await node.cli('cluster', 'info'))) await sleep(50)
  return nodes
}

t.test('row 22: Cluster: all of it works, on one node of several, and what that node loses is said', { skip }, async (t) => {
  const nodes = await startCluster(t)
  const url = `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  const [store, other] = [await opened(t, url), await opened(t, url)]
  const hears = listening(other)

  const keys = Array.from({ length: 1_200 }, (_, i) => `r/${i}`)
  await Promise.all(keys.map(async (key) => await store.write(key, bytes(key), { expiresAt: Date.now() + 60_000 })))
  const listed = new Set<string>()
  for await (const [key, value] of other.list('r/')) if (Buffer.from(value).toString() === key) listed.add(key)
  t.equal(listed.size, keys.length)
  await hears((key) => key === 'r/1199')

  const order: number[] = []
  await Promise.all([1, 2, 3, 4].map(async (one) => await (one % 2 === 0 ? store : other).lease('k', async (lease) => {
    order.push(one)
    await sleep(5)
    order.push(one)
    await (one % 2 === 0 ? store : other).write('k', bytes(String(one)), { lease })
  })))
  t.ok([0, 2, 4, 6].every((at) => order[at] === order[at + 1]), 'one after the other')
  await store.lease('k', async (lease) => {
    await other.delete('k')
    await t.rejects(other.write('k', bytes('x'), { lease }), LeaseLostError)
  })

  const sizes = await Promise.all(nodes.map(async (node) => Number(await node.cli('dbsize'))))
  t.equal(sizes.filter((size) => size > 0).length, 1, 'all keys of one prefix are on one node')
  const owner = nodes[sizes.findIndex((size) => size > 0)] as RedisServer
  for (const node of nodes) {
    if (node === owner) continue
    await node.stop()
    // Its subscriber may have been on this one.
    await eventually(async () => {
      await store.write('again', bytes(String(node.port)))
      await Promise.race([hears((key) => key === null || key === 'again'), sleep(500).then(() => { throw Object.assign(new Error('not heard yet'), { name: 'StateError' }) })])
    })
    await node.start()
  }
  for (const node of nodes) while (!/cluster_state:ok/.test(await node.cli('cluster', 'info'))) await sleep(50)

  await owner.stop()
  const began = performance.now()
  await t.rejects(store.write('a', bytes('1')), { name: 'StateError', message: /^Redis at 127\.0\.0\.1:\d+, .* (?:cannot be reached|does not answer in time|is a cluster that is down|is a cluster of which a node is away)/ })
  t.comment(`refused after ${Math.round(performance.now() - began)} ms`)
  await owner.start()
  await eventually(async () => await store.write('a', bytes('2')))
  t.equal(await text(other, 'a'), '2')
})

t.test('a Redis that loads its data is waited for, and told of where it takes too long', { skip }, async (t) => {
  const before = await startRedis(t, { args: ['--rdbcompression', 'no'] })
  await before.cli('eval', 'for i = 1, 40 do redis.call("set", "k" .. i, string.rep("x", 1000000)) end', '0')
  await before.cli('save')
  await before.stop()
  // It looks at what it is asked every 2 MB, which the delay makes rare enough.
  const loading = await startRedis(t, { args: ['--dir', before.folder, '--key-load-delay', '200000'] })
  await t.rejects(redisStore(readRedisUrl(loading.url), { prefix: 'mcp-valet:' }), { name: 'StateError', message: /is still loading its data: it will be ready in a while/ })
})
