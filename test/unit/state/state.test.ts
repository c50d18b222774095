import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { KeyedLock } from '../../../src/state/keyed-lock.js'
import { lmdbStore } from '../../../src/state/lmdb.js'
import { memoryStore } from '../../../src/state/memory.js'
import { openState } from '../../../src/state/open.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { StateError, type Store } from '../../../src/state/store.js'
import { Vault } from '../../../src/state/vault.js'
import { gate } from '../../helpers/tokens.js'

t.test('work under one key is done one after the other, also after a failure; under two keys side by side', async (t) => {
  const lock = new KeyedLock()
  const order: string[] = []
  const first = gate()
  const a = lock.run('a', async () => { await first.opened; order.push('a1'); throw new Error('failed') })
  const b = lock.run('a', async () => { order.push('a2'); return 2 })
  await lock.run('b', async () => { order.push('b') })
  first.open()
  await t.rejects(a, /failed/)
  t.equal(await b, 2)
  t.same(order, ['b', 'a1', 'a2'])
})

for (const [name, open] of [['memory', async () => memoryStore()], ['lmdb', async (folder: string) => await lmdbStore(folder)]] as const) {
  t.test(`${name}: what is written is read, replaced and deleted`, async (t) => {
    const store: Store = await open(join(t.testdir(), 'state'))
    const key = 'credential/a/b'
    t.equal(await store.read(key), undefined)
    await store.write(key, Buffer.from('one'))
    await store.write(key, Buffer.from('two'))
    t.equal(Buffer.from(await store.read(key) as Uint8Array).toString(), 'two')
    await store.delete(key)
    t.equal(await store.read(key), undefined)
    t.equal(await store.lease(key, async () => 3), 3)
    await store.close()
  })
}

t.test('a state folder that cannot be made is told with what to do', async (t) => {
  const folder = t.testdir({ file: '' })
  await t.rejects(lmdbStore(join(folder, 'file')), { name: 'StateError', message: /cannot be opened .*: make it writable/ })
  await t.rejects(openState({ driver: 'lmdb', path: join(folder, 'file'), key: undefined, previousKeys: [] }), { name: 'StateError', message: /state key .* cannot be used/ })
  const broken = join(folder, 'broken')
  await (await openState({ driver: 'lmdb', path: broken, key: undefined, previousKeys: [] })).vault.close()
  writeFileSync(join(broken, 'state.key'), 'short')
  await t.rejects(openState({ driver: 'lmdb', path: broken, key: undefined, previousKeys: [] }), /too short/)
  chmodSync(join(broken, 'state.key'), 0o604)
  await t.rejects(openState({ driver: 'lmdb', path: broken, key: undefined, previousKeys: [] }), /open to every user/)
})

t.test('a state folder in a place where none can be made is told, too', { skip: process.platform !== 'linux' }, async (t) => {
  const path = '/proc/none/state'
  const advice = /ENOENT[^]*: make (?:it|the folder) writable for this user, or name another under state\.path/
  await t.rejects(lmdbStore(path), { name: 'StateError', message: advice })
  await t.rejects(openState({ driver: 'lmdb', path, key: undefined, previousKeys: [] }), { name: 'StateError', message: advice })
})

t.test('a state folder is made with those above it, for their owner alone', async (t) => {
  const top = join(t.testdir(), 'a')
  await (await lmdbStore(join(top, 'b', 'c'))).close()
  for (const folder of [top, join(top, 'b'), join(top, 'b', 'c')]) t.equal(statSync(folder).mode & 0o777, 0o700)
})

t.test('many that start together agree on one key of their own', async (t) => {
  const path = join(t.testdir(), 'state')
  const opened = await Promise.all(Array.from({ length: 8 }, async () => await openState({ driver: 'lmdb', path, key: undefined, previousKeys: [] })))
  const derived = opened.map(({ key }) => key.derive('x').export().toString('hex'))
  t.equal(new Set(derived).size, 1)
  t.same(readdirSync(path).filter((name) => name.startsWith('state.key')), ['state.key'], 'and no draft is left')
  t.equal(statSync(join(path, 'state.key')).mode & 0o777, 0o600)
  for (const { vault } of opened) await vault.close()
})

t.test('a key that makes no draft in its folder is told', { skip: process.getuid?.() === 0 && 'root may write everywhere' }, async (t) => {
  const path = t.testdir()
  chmodSync(path, 0o500)
  await t.rejects(openState({ driver: 'lmdb', path, key: undefined, previousKeys: [] }), StateError)
})

t.test('row 48: a sealed record opens under its own name, key and content alone', async (t) => {
  const seal = new Seal(StateKey.random())
  fc.assert(fc.property(fc.uint8Array(), fc.string(), (plain, name) => Buffer.from(plain).equals(seal.open(name, seal.close(name, plain)))))
  const sealed = seal.close('name', Buffer.from('token'))
  fc.assert(fc.property(fc.integer({ min: 0, max: sealed.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
    const flipped = Buffer.from(sealed)
    flipped[at] = (flipped[at] as number) ^ change
    try { seal.open('name', flipped); return false } catch (error) { return error instanceof StateError && !error.message.includes('token') }
  }))
  for (let length = 0; length < sealed.length; length++) t.throws(() => seal.open('name', sealed.subarray(0, length)), StateError)
  t.throws(() => seal.open('other', sealed), /does not open/)
  t.throws(() => new Seal(StateKey.random()).open('name', sealed), /does not open/)
  t.not(seal.close('name', Buffer.from('token')).toString('hex'), sealed.toString('hex'), 'no nonce is used twice')
})

t.test('keys for different uses differ, and a short master is refused', async (t) => {
  const key = StateKey.random()
  t.notOk(key.derive('a').equals(key.derive('b')))
  t.ok(key.derive('a').equals(key.derive('a')))
  t.throws(() => new StateKey(Buffer.alloc(31)), /too short/)
})

t.test('a medium that fails is told by its code, never by what was to be written', async (t) => {
  const broken = (error: Error): Vault => new Vault({ ...memoryStore(), write: async () => { throw error }, read: async () => { throw error } }, new Seal(StateKey.random()))
  const full = broken(Object.assign(new Error('secret'), { code: 'ENOSPC' }))
  await t.rejects(full.write('n', { token: 'x' }), { name: 'StateError', message: 'the record n cannot be saved (ENOSPC): check the space and the permissions of the state store' })
  await t.rejects(full.read('n'), { name: 'StateError', message: /cannot be read \(ENOSPC\)/ })
  await t.rejects(broken(new Error('secret')).write('n', {}), /\(write failed\)/)
  const vault = new Vault(memoryStore(), new Seal(StateKey.random()))
  await vault.write('n', { token: 'x' })
  t.same(await vault.read('n'), { token: 'x' })
  await vault.delete('n')
  t.equal(await vault.read('n'), undefined)
  await vault.close()
})

t.test('row 46: LMDB\'s files hold what is sealed, and nothing else of it', async (t) => {
  const path = join(t.testdir(), 'state')
  const { vault } = await openState({ driver: 'lmdb', path, key: undefined, previousKeys: [] })
  await vault.write('n', { token: 'in-clear-it-would-be-found' })
  t.notOk(readFileSync(join(path, 'valet.mdb')).includes('in-clear'))
  await vault.close()
})
