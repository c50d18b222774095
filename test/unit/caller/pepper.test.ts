import t from 'tap'
import { Pepper } from '../../../src/caller/pepper.js'
import { memoryStore } from '../../../src/state/memory.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { Vault } from '../../../src/state/vault.js'

t.test('P3: session keys are hashed in the same way after the state key has changed, and after the state was lost', async (t) => {
  const [store, first, second] = [memoryStore(), StateKey.random(), StateKey.random()]
  const before = await Pepper.open(new Vault(store, new Seal(first)), first)
  const vault = new Vault(store, new Seal(second, [first]))
  const after = await Pepper.open(vault, second)
  t.ok(after.key.equals(before.key))
  t.ok(await after.uphold())
  await vault.delete(Pepper.NAME)
  t.ok(await after.uphold(), 'it is put back by who has it')
  t.ok((await Pepper.open(vault, second)).key.equals(before.key))
  await vault.delete(Pepper.NAME)
  t.notOk((await Pepper.open(vault, second)).key.equals(before.key), 'nobody had it then')
  t.notOk(await after.uphold(), 'who has it notices')
})

t.test('P3: who starts on a state that was emptied has the key of those that go on', async (t) => {
  const key = StateKey.random()
  const open = async (): Promise<Pepper> => await Pepper.open(new Vault(memoryStore(), new Seal(key)), key)
  t.ok((await open()).key.equals((await open()).key))
  t.notOk((await open()).key.equals(key.derive('seal')))
})
