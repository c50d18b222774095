import { join } from 'node:path'
import fc from 'fast-check'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { readRedisUrl } from '../../src/config/redis-url.js'
import { lmdbStore } from '../../src/state/lmdb.js'
import { memoryStore } from '../../src/state/memory.js'
import { redisStore } from '../../src/state/redis.js'
import { LeaseLostError, StateError, type Lease, type Store } from '../../src/state/store.js'
import { skip, startRedis } from '../helpers/redis.js'
import { gate } from '../helpers/tokens.js'
import { Watch } from '../helpers/watch.js'

/** What every driver does alike. `more` opens the same state once more; where there is none nobody can share it. */
interface Driver {
  readonly open: (times?: { waitMs?: number }) => Promise<Store>
  readonly shared: boolean
  /** Writes many records faster than one by one. */
  readonly fill?: (keys: readonly string[], value: Buffer) => Promise<void>
}

const DRIVERS: Record<string, (t: Test) => Promise<Driver>> = {
  memory: async () => {
    const store = memoryStore()
    return { open: async () => store, shared: false }
  },
  lmdb: async (t) => {
    const path = join(t.testdir(), 'state')
    return {
      open: async (times) => await lmdbStore(path, times),
      shared: true,
      async fill (keys, value) {
        const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
        database.transactionSync(() => { for (const key of keys) database.putSync(key, value) })
        await database.close()
      },
    }
  },
  redis: async (t) => {
    const { url } = await startRedis(t)
    return { open: async (times) => await redisStore(readRedisUrl(url), { prefix: 'mcp-valet:', ...times }), shared: true }
  },
}

const bytes = (text: string): Buffer => Buffer.from(text)
const text = async (store: Store, key: string): Promise<string | undefined> => {
  const value = await store.read(key)
  return value === undefined ? undefined : Buffer.from(value).toString()
}
async function listed (store: Store, prefix: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for await (const [key, value] of store.list(prefix)) {
    t.notOk(key in found, 'none is told twice')
    found[key] = Buffer.from(value).toString()
  }
  return found
}

for (const [name, make] of Object.entries(DRIVERS)) {
  t.test(name, { skip: name === 'redis' && skip }, async (t) => {
    const driver = await make(t)
    const store = await driver.open()
    t.teardown(async () => await store.close())
    // The store's own timers keep no process alive, and nothing else here does.
    const alive = setInterval(() => {}, 1_000)
    t.teardown(() => clearInterval(alive))
    const second = async (t: Test, times?: { waitMs?: number }): Promise<Store> => {
      const other = await driver.open(times)
      t.teardown(async () => await other.close())
      return other
    }

    await t.test('what is written is read, replaced and deleted', async (t) => {
      t.equal(await store.read('a/b'), undefined)
      await store.write('a/b', bytes('one'))
      await store.write('a/b', bytes('two'))
      t.equal(await text(store, 'a/b'), 'two')
      await store.delete('a/b')
      await store.delete('a/b')
      t.equal(await store.read('a/b'), undefined)
    })

    await t.test('any bytes under any name are kept as they are', async (t) => {
      await fc.assert(fc.asyncProperty(fc.string({ minLength: 1, maxLength: 50, unit: 'binary' }), fc.uint8Array({ maxLength: 5_000 }), async (suffix, value) => {
        const key = `any/${suffix.replaceAll('\0', '')}`
        await store.write(key, value)
        t.ok(Buffer.from(value).equals(await store.read(key) as Uint8Array))
        t.ok((await listed(store, 'any/'))[key] !== undefined, JSON.stringify(key))
        await store.delete(key)
      }), { numRuns: 30 })
    })

    await t.test('a list holds every record whose key begins so, and no other', async (t) => {
      const odd = ['p/', 'p/*', 'p/[a]', 'p/?', 'p/\\', 'p/漢', 'p/😀', 'p/{x}', 'p/~']
      for (const key of [...odd, 'p', 'q/1', 'P/1']) await store.write(key, bytes(key))
      t.strictSame(await listed(store, 'p/'), Object.fromEntries(odd.map((key) => [key, key])))
      t.strictSame(await listed(store, 'p/*'), { 'p/*': 'p/*' })
      t.strictSame(await listed(store, 'p/😀'), { 'p/😀': 'p/😀' })
      t.strictSame(await listed(store, 'none'), {})
      t.ok(Object.keys(await listed(store, '')).every((key) => !key.startsWith('~')), 'what the store keeps for itself is not told')
      t.equal(Object.keys(await listed(store, '')).length, 12)
    })

    await t.test('a list that is left half-way, and writes while it goes on, harm nothing', async (t) => {
      for (let i = 0; i < 1_500; i++) await store.write(`half/${i}`, bytes('x'))
      const left = store.list('half/')[Symbol.asyncIterator]()
      t.match((await left.next()).value?.[0], /^half\//)
      await left.return?.()
      let seen = 0
      for await (const [key] of store.list('half/')) {
        if (seen++ % 300 === 0) {
          await store.delete(key)
          await store.write(`half/new${seen}`, bytes('y'))
        }
      }
      t.ok(seen >= 1_490)
    })

    await t.test('work under one lease is done one after the other, also after a failure; under two side by side', async (t) => {
      const order: string[] = []
      const first = gate()
      const other = await second(t)
      const began = gate()
      const a = store.lease('a', async () => { began.open(); await first.opened; order.push('a1'); throw new Error('failed') })
      await began.opened
      const b = store.lease('a', async () => { order.push('a2'); return 2 })
      const c = other.lease('a', async () => { order.push('a3'); return 3 })
      await store.lease('b', async () => { order.push('b') })
      first.open()
      await t.rejects(a, /^failed$/)
      t.equal(await b, 2)
      t.equal(await c, 3)
      t.equal(order[0], 'b')
      t.equal(order[1], 'a1')
      t.strictSame([...order].sort(), ['a1', 'a2', 'a3', 'b'])
    })

    await t.test('a lease is held while work goes on, and a write under it counts', async (t) => {
      let kept: Lease | undefined
      await store.lease('leased', async (lease) => {
        t.ok(lease.held())
        t.notOk(lease.lost.aborted)
        await store.write('leased', bytes('1'), { lease })
        await store.write('another', bytes('1'), { lease, expiresAt: Date.now() + 60_000 })
        kept = lease
      })
      t.equal(await text(store, 'leased'), '1')
      t.equal(await text(store, 'another'), '1')
      if (!driver.shared) return
      t.notOk(kept?.held(), 'not after its work')
      await t.rejects(store.write('leased', bytes('2'), { lease: kept }), LeaseLostError)
      const foreign = await second(t)
      await foreign.lease('leased', async (lease) => await t.rejects(store.write('leased', bytes('2'), { lease }), LeaseLostError, 'nor one of another store'))
      t.equal(await text(store, 'leased'), '1')
    })

    await t.test('a record that is over may be forgotten, one that is not is kept', async (t) => {
      await store.write('ttl', bytes('1'), { expiresAt: Date.now() - 5_000 })
      await store.write('ttl', bytes('2'), { expiresAt: Date.now() + 60_000 })
      t.equal(await text(store, 'ttl'), '2')
      await store.write('ttl', bytes('3'))
      t.equal(await text(store, 'ttl'), '3')
    })

    await t.test('changes of others are told, own ones are not', { skip: !driver.shared && 'nobody shares it' }, async (t) => {
      const other = await second(t)
      const [mine, theirs] = [[] as Array<string | undefined>, [] as Array<string | undefined>]
      const heard = new Watch<string | undefined>()
      store.watch((key) => { mine.push(key) })
      other.watch(() => { throw new Error('a listener that fails') })
      const stop = other.watch((key) => { theirs.push(key); heard.tell(key) })
      await store.write('told/1', bytes('x'))
      await store.delete('told/1')
      await store.write('told/2', bytes('x'))
      await heard.until((key) => key === 'told/2', theirs)
      t.ok(theirs.includes('told/1'))
      stop()
      const rest = new Watch<string | undefined>()
      other.watch((key) => rest.tell(key))
      const last = rest.until((key) => key === 'told/4')
      await store.write('told/3', bytes('x'))
      await store.write('told/4', bytes('x'))
      await last
      t.notOk(theirs.includes('told/3'), 'who stopped listening is not told any more')
      t.strictSame(mine, [])
    })

    await t.test('who waits for a lease for too long is told what to do', { skip: !driver.shared && 'nobody shares it' }, async (t) => {
      const hasty = await second(t, { waitMs: 150 })
      const held = gate()
      const taken = gate()
      const work = store.lease('long', async () => { taken.open(); await held.opened })
      await taken.opened
      const refused = { name: 'StateError', message: /the lease on long was not to be had within 0.15 s: .* holds it for 10 s at most/ }
      await t.rejects(hasty.lease('long', async () => {}), refused)
      held.open()
      await work
      t.equal(await hasty.lease('long', async () => 'had'), 'had')
      const here = gate()
      const begun = gate()
      const mine = hasty.lease('mine', async () => { begun.open(); await here.opened })
      await begun.opened
      let worked = false
      await t.rejects(hasty.lease('mine', async () => { worked = true }), { name: 'StateError' }, 'for work of this process as well')
      here.open()
      await mine
      await hasty.lease('mine', async () => {})
      t.notOk(worked, 'what was refused is not done later')
    })

    await t.test('what is closed says so, at once, also to who waits', { skip: !driver.shared && 'it has nothing to close' }, async (t) => {
      const other = await driver.open()
      const [taken, free] = [gate(), gate()]
      const work = store.lease('closing', async () => { taken.open(); await free.opened })
      await taken.opened
      const waits = other.lease('closing', async () => {})
      await new Promise((resolve) => setTimeout(resolve, 30))
      other.watch(() => {})
      await other.close()
      const closed = { name: 'StateError', message: /closed/ }
      await t.rejects(waits, closed)
      for (const call of [other.read('a'), other.write('a', bytes('x')), other.delete('a'), other.lease('a', async () => {}), listed(other, 'a')]) await t.rejects<unknown>(call, closed)
      free.open()
      await work
    })

    await t.test('many records are listed', async (t) => {
      const value = Buffer.alloc(400, 1)
      const keys = Array.from({ length: 50_000 }, (_, i) => `many/${i}`)
      let began = performance.now()
      const told = (what: string): void => {
        t.comment(`${name}: ${what} in ${Math.round(performance.now() - began)} ms`)
        began = performance.now()
      }
      if (driver.fill !== undefined) await driver.fill(keys, value)
      else for (let i = 0; i < keys.length; i += 500) await Promise.all(keys.slice(i, i + 500).map(async (key) => await store.write(key, value)))
      told('50000 records written')
      let count = 0
      for await (const [, { length }] of store.list('many/')) if (length === value.length) count++
      t.equal(count, keys.length)
      told('50000 records listed')
      for (let i = 0; i < 1_000; i++) await store.read(`many/${i * 50}`)
      told('1000 of 50000 records read')
    })
  })
}

t.test('errors of the state are told apart', async (t) => {
  t.ok(new LeaseLostError('k') instanceof StateError)
})
