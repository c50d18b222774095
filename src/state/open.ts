import { randomBytes } from 'node:crypto'
import { link, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { RedisConfig, SecretRef, StateConfig } from '../config/config.js'
import { readRedisUrl, type RedisAddress } from '../config/redis-url.js'
import { makeFolder } from './folder.js'
import { lmdbStore, type LmdbOptions } from './lmdb.js'
import { memoryStore } from './memory.js'
import { readTls } from './redis-client.js'
import { redisStore } from './redis.js'
import { Seal, StateKey } from './seal.js'
import { StateError, type Store } from './store.js'
import { Vault } from './vault.js'

export interface OpenState {
  readonly vault: Vault
  /** The key that everything kept is derived from. */
  readonly key: StateKey
  /** Keys that came before it: what was derived from those may still be in the state. */
  readonly previousKeys: readonly StateKey[]
}

/** For tests; the stores have defaults. */
export type StateTuning = Pick<LmdbOptions, 'clock' | 'leaseMs' | 'waitMs'>

/**
 * The state that the config asks for.
 * @throws {StateError} where it cannot be used
 * @throws {SecretRefError} where its key or address cannot be read
 */
export async function openState (config: StateConfig, tuning: StateTuning = {}): Promise<OpenState> {
  if (config.driver === 'memory') return withKeys(memoryStore(tuning.clock), StateKey.random(), [])
  const previousKeys = await Promise.all(config.previousKeys.map(async (ref, index) => await readKey(ref, `state.previous_keys[${index}]`)))
  if (config.driver === 'redis') {
    const key = await readKey(config.key)
    return withKeys(await openRedis(config, tuning), key, previousKeys)
  }
  const key = config.key === undefined ? await ownKeyFile(config.path) : await readKey(config.key)
  return withKeys(await lmdbStore(config.path, tuning), key, previousKeys)
}

function withKeys (store: Store, key: StateKey, previousKeys: readonly StateKey[]): OpenState {
  return { vault: new Vault(store, new Seal(key, previousKeys)), key, previousKeys }
}

async function readKey (ref: SecretRef, path = 'state.key'): Promise<StateKey> {
  return new StateKey(Buffer.from((await ref.read()).reveal()), `${path} (${ref.source})`)
}

async function openRedis ({ url, prefix, tls }: RedisConfig, tuning: StateTuning): Promise<Store> {
  const text = (await url.read()).reveal()
  let address: RedisAddress
  try {
    address = readRedisUrl(text)
  } catch (error) {
    throw new StateError(`state.url (${url.source}) holds no address of Redis: ${(error as RangeError).message}`)
  }
  return await redisStore(address, { prefix, tls: await readTls(tls), ...tuning })
}

/** The key beside the records, for their owner's eyes alone; made where there is none. */
async function ownKeyFile (folder: string): Promise<StateKey> {
  const path = join(folder, 'state.key')
  try {
    await makeFolder(folder)
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
    // As text, so that it can be named under state.key or state.previous_keys as well.
    await file.writeFile(randomBytes(32).toString('base64'))
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
