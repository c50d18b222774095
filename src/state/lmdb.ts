import { chmod, mkdir, open as openFile } from 'node:fs/promises'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { KeyedLock } from './keyed-lock.js'
import { StateError, type Store } from './store.js'

/**
 * Records in one LMDB file of this machine.
 * @param path a folder; made, for its owner alone, where it does not exist
 * @throws {StateError}
 */
export async function lmdbStore (path: string): Promise<Store> {
  const database = await openDatabase(path)
  const lock = new KeyedLock()
  return {
    shared: false,
    read: async (key) => database.getBinary(key),
    async write (key, value) {
      // Not `put`: where the disk is full that leaves rejections that nobody can catch, and `flushed` and `close` pending.
      database.putSync(key, Buffer.from(value))
      // It is visible now; it is on the disk only after this.
      await database.flushed
    },
    async delete (key) {
      database.removeSync(key)
      await database.flushed
    },
    async * list (prefix) {
      for (const { key, value } of database.getRange({ start: prefix, end: prefix + '\uffff' })) yield [key, value]
    },
    lease: async (key, work) => await lock.run(key, work),
    watch: () => () => {},
    close: async () => { await database.close() },
  }
}

async function openDatabase (path: string): Promise<RootDatabase<Buffer, string>> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    const file = join(path, 'valet.mdb')
    for (const own of [file, `${file}-lock`]) await forOwnerAlone(own)
    return open<Buffer, string>({ path: file, encoding: 'binary', maxDbs: 4 })
  } catch (error) {
    const why = (error as Error).message
    throw new StateError(`the state folder ${path} cannot be opened (${why}): make it writable for this user, or name another under state.path`, { cause: error })
  }
}

/** LMDB would make its files readable by all, and the folder may have been there before, open to others. */
async function forOwnerAlone (path: string): Promise<void> {
  await (await openFile(path, 'a', 0o600)).close()
  await chmod(path, 0o600)
}
