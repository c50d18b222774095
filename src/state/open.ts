import { randomBytes } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { StateConfig } from '../config/config.js'
import { lmdbStore } from './lmdb.js'
import { memoryStore } from './memory.js'
import { Seal, StateKey } from './seal.js'
import { StateError } from './store.js'
import { Vault } from './vault.js'

/** The state that the config asks for, and the key that everything kept is derived from. */
export async function openState (config: StateConfig): Promise<{ vault: Vault, key: StateKey }> {
  if (config.driver === 'memory') {
    const key = StateKey.random()
    return { vault: new Vault(memoryStore(), new Seal(key)), key }
  }
  const key = config.key === undefined
    ? await ownKeyFile(config.path)
    : new StateKey(Buffer.from((await config.key.read()).reveal()))
  return { vault: new Vault(await lmdbStore(config.path), new Seal(key)), key }
}

/** The key beside the records, for their owner's eyes alone; made where there is none. */
async function ownKeyFile (folder: string): Promise<StateKey> {
  const path = join(folder, 'state.key')
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    return new StateKey(await readKeyFile(path).catch(async (error: unknown) => {
      unlessMissing(error)
      await makeKeyFile(path)
      return await readKeyFile(path)
    }))
  } catch (error) {
    if (error instanceof StateError) throw error
    const why = (error as Error).message
    throw new StateError(`the state key ${path} cannot be used (${why}): make the folder writable for this user, or name another under state.path`, { cause: error })
  }
}

/** @throws {StateError} where it is open to every user, as any secret file of the config would be refused */
async function readKeyFile (path: string): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const { mode } = await file.stat()
    if (process.platform !== 'win32' && (mode & 0o007) !== 0) throw new StateError(`the state key ${path} is open to every user of this machine: chmod o-rwx it`)
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Written elsewhere and linked into place: of two processes that start together one makes it, and neither reads half of it. */
async function makeKeyFile (path: string): Promise<void> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(randomBytes(32))
    await file.sync()
    await file.close()
    await link(draft, path).catch(unlessExists)
  } finally {
    await unlink(draft)
  }
}

function unlessExists (error: unknown): void {
  if (codeOf(error) !== 'EEXIST') throw error
}

function unlessMissing (error: unknown): void {
  if (codeOf(error) !== 'ENOENT') throw error
}

function codeOf (error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
