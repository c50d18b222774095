import { execFileSync, spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { lmdbStore } from '../../src/state/lmdb.js'
import { Seal, StateKey } from '../../src/state/seal.js'
import { Vault } from '../../src/state/vault.js'

const prlimit = (fsize: string): void => { execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${fsize}:`]) }
const skip = spawnSync('prlimit', ['--version']).status !== 0 && 'there is no prlimit(1) here'
// Besides refusing the write the system sends a signal, which Node ignores but the test runner would end the process for.
process.on('SIGXFSZ', () => {})

const LONG = 'x'.repeat(64 * 1024)

/** A real store whose file can grow no further, as on a full disk, until `free` is called. */
async function full (t: Test): Promise<{ vault: Vault, free: () => void }> {
  const folder = t.testdir({})
  const vault = new Vault(await lmdbStore(folder), new Seal(StateKey.random()))
  await vault.write('pair', 'old')
  prlimit(String(statSync(join(folder, 'valet.mdb')).size))
  const free = (): void => prlimit('unlimited')
  t.teardown(free)
  return { vault, free }
}

t.test('row 11: what a full disk refuses is said, and what was there before is kept', { skip }, async (t) => {
  const { vault, free } = await full(t)
  for (let tries = 0; tries < 2; tries++) await t.rejects(vault.write('pair', LONG), { name: 'StateError', message: /cannot be saved \(EFBIG\)/ })
  t.equal(await vault.read('pair'), 'old')
  free()
  await vault.write('pair', LONG)
  t.equal(await vault.read('pair'), LONG)
  await vault.close()
})

t.test('row 11: a store on a full disk can be closed', { skip }, async (t) => {
  const { vault } = await full(t)
  await t.rejects(vault.write('pair', LONG), { name: 'StateError' })
  await vault.close()
})
