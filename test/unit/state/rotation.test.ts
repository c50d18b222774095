import { createCipheriv, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { SecretRef } from '../../../src/config/config.js'
import { secretRef } from '../../../src/config/secret-ref.js'
import { Secret } from '../../../src/secret.js'
import { memoryStore } from '../../../src/state/memory.js'
import { openState } from '../../../src/state/open.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { StateError } from '../../../src/state/store.js'
import { Vault } from '../../../src/state/vault.js'
import { mint } from '../../helpers/tokens.js'

const newKey = (): string => mint('k') + mint('k')
const ref = (value: string): SecretRef => ({ source: 'env KEY', read: async () => new Secret(value) })

/** What version 0.1 wrote: version 1, nonce, ciphertext, tag; bound to the name alone. */
function sealedByFirstVersion (key: StateKey, name: string, plain: string): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key.derive('seal'), nonce).setAAD(Buffer.from(name))
  return Buffer.concat([Buffer.of(1), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

t.test('a record opens with the key that sealed it, and what is sealed anew is sealed with the current one', async (t) => {
  const [old, current] = [StateKey.random(), StateKey.random()]
  const before = new Seal(old).close('n', Buffer.from('token'))
  const both = new Seal(current, [StateKey.random(), old])
  t.equal(both.open('n', before).toString(), 'token')
  const after = both.close('n', both.open('n', before))
  t.equal(new Seal(current).open('n', after).toString(), 'token')
  t.throws(() => new Seal(old).open('n', after), { name: 'StateError' })
})

t.test('a record of version 0.1 opens with the current key and with a previous one', async (t) => {
  const [old, current] = [StateKey.random(), StateKey.random()]
  const sealed = sealedByFirstVersion(old, 'n', 'token')
  t.equal(new Seal(old).open('n', sealed).toString(), 'token')
  t.equal(new Seal(current, [old]).open('n', sealed).toString(), 'token')
  t.throws(() => new Seal(current, [old]).open('other', sealed), /does not open/)
  t.throws(() => new Seal(old).open('n', sealed.subarray(0, 28)), /is cut short/)
})

t.test('where no key fits it says what to do', async (t) => {
  const sealed = new Seal(StateKey.random()).close('n', Buffer.from('token'))
  const message = 'the stored record n does not open: it was changed, or state.key is not the key it was sealed with. Bring that key back, as state.key or under state.previous_keys, or delete the state and log in again'
  t.throws(() => new Seal(StateKey.random(), [StateKey.random()]).open('n', sealed), { name: 'StateError', message })
  t.throws(() => new Seal(StateKey.random()).open('n', sealedByFirstVersion(StateKey.random(), 'n', 'x')), { message })
  t.throws(() => new Seal(StateKey.random()).open('n', Buffer.of(3, ...sealed.subarray(1))), /was written by a newer version of mcp-valet: run that version/)
  t.throws(() => new Seal(StateKey.random()).open('n', Buffer.alloc(0)), /is cut short/)
})

t.test('a key in the config is replaced step by step, and what was derived from the old one can still be found', async (t) => {
  const path = join(t.testdir(), 'state')
  const [first, second] = [newKey(), newKey()]
  const open = async (key: string, ...previous: string[]): ReturnType<typeof openState> => await openState({ driver: 'lmdb', path, key: ref(key), previousKeys: previous.map(ref) })
  const before = await open(first)
  t.strictSame(before.previousKeys, [])
  await before.vault.write('kept', { n: 1 })
  await before.vault.write('moved', { n: 2 })
  await before.vault.close()

  const rotated = await open(second, first)
  t.strictSame(await rotated.vault.read('kept'), { n: 1 })
  await rotated.vault.write('moved', await rotated.vault.read('moved'))
  const pepper = (key: StateKey | undefined): string | undefined => key?.derive('session-key').export().toString('hex')
  t.equal(pepper(rotated.previousKeys[0]), pepper(before.key))
  t.not(pepper(rotated.key), pepper(before.key))
  await rotated.vault.close()

  const after = await open(second)
  t.strictSame(await after.vault.read('moved'), { n: 2 })
  await t.rejects(after.vault.read('kept'), { name: 'StateError', message: /state\.previous_keys/ })
  const [usable, unusable]: [unknown[], string[]] = [[], []]
  for await (const [name, record] of after.vault.list('', (name, error) => unusable.push(`${name}: ${error.name}`))) usable.push([name, record])
  t.strictSame(usable, [['moved', { n: 2 }]])
  t.strictSame(unusable, ['kept: StateError'])
  await after.vault.close()
})

t.test('the folder\'s own key can be named in the config, as the current one or as a previous one', async (t) => {
  const path = join(t.testdir(), 'state')
  const own = await openState({ driver: 'lmdb', path, key: undefined, previousKeys: [] })
  await own.vault.write('n', 1)
  await own.vault.close()
  const file = secretRef({ file: join(path, 'state.key') }, { env: {} })
  for (const config of [{ key: file, previousKeys: [] }, { key: ref(newKey()), previousKeys: [file] }]) {
    const named = await openState({ driver: 'lmdb', path, ...config })
    t.equal(await named.vault.read('n'), 1)
    await named.vault.close()
  }
  writeFileSync(join(path, 'state.key'), randomBytes(32))
  const bytes = await openState({ driver: 'lmdb', path, key: undefined, previousKeys: [file].slice(1) })
  t.ok(bytes.key, 'the key of version 0.1, which was no text, is still one')
  await bytes.vault.close()
})

t.test('a key that cannot be used is named', async (t) => {
  const path = join(t.testdir(), 'state')
  const config = { driver: 'lmdb', path, key: ref(newKey()) } as const
  await t.rejects(openState({ ...config, previousKeys: [ref(newKey()), ref('short')] }), { name: 'StateError', message: /^state\.previous_keys\[1\] \(env KEY\) is too short: it needs at least 32 bytes/ })
  await t.rejects(openState({ ...config, key: ref('short'), previousKeys: [] }), { name: 'StateError', message: /^state\.key \(env KEY\) is too short: it needs at least 32 bytes/ })
  await t.rejects(openState({ ...config, previousKeys: [secretRef({ env: 'NONE' }, { env: {} })] }), { name: 'SecretRefError', message: /NONE is not set/ })
  t.throws(() => readFileSync(join(path, 'valet.mdb')), 'and nothing was made')
})

t.test('memory has a key of its own', async (t) => {
  const { vault, key, previousKeys } = await openState({ driver: 'memory' })
  await vault.write('n', 1)
  t.equal(await vault.read('n'), 1)
  t.ok(key)
  t.strictSame(previousKeys, [])
})

t.test('an address of Redis that is none is refused without it', async (t) => {
  const config = { driver: 'redis', prefix: 'p:', key: ref(newKey()), previousKeys: [], tls: { ca: undefined, cert: undefined, key: undefined, serverName: undefined } } as const
  const url: SecretRef = { source: 'env URL', read: async () => new Secret('http://:hunter2@h') }
  const error = await openState({ ...config, url }).then(() => undefined, (error: Error) => error)
  t.match(error, { name: 'StateError', message: /^state\.url \(env URL\) holds no address of Redis: expected one of redis:\/\// })
  t.notMatch(`${error?.stack} ${String(error?.cause)}`, 'hunter2')
})

t.test('what a store says goes into the words of the vault, and a list that is left ends at the store', async (t) => {
  const broken = async (): Promise<never> => { throw new StateError('Redis at h cannot be reached') }
  let ended = false
  const store = {
    ...memoryStore(),
    read: broken,
    write: broken,
    delete: broken,
    async * list () {
      try {
        yield ['a', new Seal(key).close('a', Buffer.from('no JSON'))] as const
        yield ['b', new Seal(key).close('b', Buffer.from('2'))] as const
        await broken()
      } finally {
        ended = true
      }
    },
  }
  const key = StateKey.random()
  const vault = new Vault(store, new Seal(key))
  await t.rejects(vault.read('n'), { name: 'StateError', message: 'the record n cannot be read: Redis at h cannot be reached' })
  await t.rejects(vault.write('n', 1), { name: 'StateError', message: 'the record n cannot be saved: Redis at h cannot be reached' })
  await t.rejects(vault.delete('n'), { name: 'StateError', message: 'the record n cannot be deleted: Redis at h cannot be reached' })
  const unusable: string[] = []
  const records = vault.list('', (name, error) => unusable.push(`${name}: ${error.message}`))
  t.strictSame((await records.next()).value, ['b', 2])
  t.strictSame(unusable, ['a: the stored record a is no JSON'])
  await t.rejects(records.next(), { name: 'StateError', message: 'the records … cannot be read: Redis at h cannot be reached' })
  t.ok(ended)
  ended = false
  const left = vault.list('', () => {})
  await left.next()
  await left.return(undefined)
  t.ok(ended)
})
