import { chmod, open as openFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { makeFolder } from './folder.js'
import { stateErrorOf } from './lmdb-error.js'
import { Space } from './lmdb-space.js'
import { StateError } from './store.js'

export type Database = RootDatabase<Buffer, string>

/** The open file, and the one way of changing it. */
export interface StateFile {
  readonly database: Database
  /**
   * All of `work` happens, and is on the disk, or none of it.
   * @param bytes of what is written, for the room that it needs
   * @throws what `work` throws, and what the system says where there is no room
   */
  transact<T> (bytes: number, work: () => T): T
  close (): Promise<void>
}

/** What this version of mcp-valet writes; a folder without a number is of the first format, which had none. */
const FORMAT = 1
const FORMAT_KEY = '~format'

const MAGIC = 0xbeefc0de
const MAGIC_AT = 24
const PAGE_SIZE_AT = 48
const LAST_PAGE_AT = 144
const META_BYTES = 152
/** Two pages of 4 KiB, which LMDB writes with the file. */
const LEAST_BYTES = 8_192
/** Bytes that are filled up where a file was cut off; a damaged page could speak of any number. */
const MOST_MISSING = 1 << 28
const FILL = 1 << 20

/** @throws {StateError} where the folder cannot be used: the message says what to do */
export async function openStateFile (path: string): Promise<StateFile> {
  const file = join(path, 'valet.mdb')
  try {
    await makeFolder(path)
    for (const own of [file, `${file}-lock`]) await forOwnerAlone(own)
    await checkFile(file)
    const database = open<Buffer, string>({ path: file, encoding: 'binary', maxDbs: 4 })
    const space = new Space(database, file)
    const state: StateFile = {
      database,
      transact: (bytes, work) => database.transactionSync(() => {
        space.reserve(bytes)
        return work()
      }),
      async close () {
        space.close()
        await database.close()
      },
    }
    await checkFormat(state, path)
    return state
  } catch (error) {
    throw stateErrorOf(`the state folder ${path} cannot be opened`, error)
  }
}

/**
 * LMDB would make its files readable by all, and the folder may have been there before, open to others. A file that is
 * there is not opened: closing it would take away the lock that this process may hold on it (fcntl(2)).
 */
async function forOwnerAlone (path: string): Promise<void> {
  await openFile(path, 'wx', 0o600).then(async (file) => await file.close(), (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  await chmod(path, 0o600)
}

/** LMDB takes a file for what it seems: of one that is something else, or was cut off, the process would die by a signal. */
async function checkFile (path: string): Promise<void> {
  const file = await openFile(path, 'a+')
  try {
    const { size } = await file.stat()
    if (size === 0) return
    const first = await metaAt(file, 0)
    const second = size < LEAST_BYTES || first.magic !== MAGIC ? first : await metaAt(file, first.pageSize)
    const missing = Math.max(first.bytes, second.bytes) - size
    if (size < LEAST_BYTES || first.magic !== MAGIC || second.magic !== MAGIC || missing > MOST_MISSING) {
      throw new StateError(`the state file ${path} is no state of mcp-valet, or is damaged: bring it back from a backup, or move it away and log in again`)
    }
    // Zeros where pages are missing: LMDB says of those that they are damaged. Pages that nothing uses may be missing rightly.
    for (let left = missing; left > 0; left -= FILL) await file.appendFile(Buffer.alloc(Math.min(left, FILL)))
  } finally {
    await file.close()
  }
}

/** One of the two pages that say what else is in the file (mdb.c, MDB_meta): how many bytes that would be. */
async function metaAt (file: FileHandle, position: number): Promise<{ magic: number, pageSize: number, bytes: number }> {
  const meta = Buffer.alloc(META_BYTES)
  await file.read(meta, 0, META_BYTES, position)
  const pageSize = meta.readUInt32LE(PAGE_SIZE_AT)
  return { magic: meta.readUInt32LE(MAGIC_AT), pageSize, bytes: (Number(meta.readBigUInt64LE(LAST_PAGE_AT)) + 1) * pageSize }
}

async function checkFormat ({ database, transact, close }: StateFile, path: string): Promise<void> {
  try {
    const format = Number(firstRead(database, path)?.toString() ?? 0)
    if (format > FORMAT) {
      throw new StateError(`the state folder ${path} was written by a newer version of mcp-valet: run that version, or name another folder under state.path`)
    }
    if (format < FORMAT) transact(0, () => database.putSync(FORMAT_KEY, Buffer.from(String(FORMAT))))
  } catch (error) {
    await close()
    throw error
  }
}

/** LMDB tells readers by the numbers of their processes; where it finds its own taken, lmdb 3.5 has nothing to read with. */
function firstRead (database: Database, path: string): Buffer | undefined {
  try {
    return database.getBinary(FORMAT_KEY)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new StateError(`the state folder ${path} is open in another container, in a process with the same number as this one (${process.pid}), by which LMDB tells them: let the containers share a PID namespace, or use driver: redis`, { cause: error })
  }
}
