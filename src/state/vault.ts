import { getSystemErrorName } from 'node:util'
import type { Seal } from './seal.js'
import { StateError, type Store } from './store.js'

/** A store of JSON records, each sealed under its own name. */
export class Vault {
  readonly #store: Store
  readonly #seal: Seal

  constructor (store: Store, seal: Seal) {
    this.#store = store
    this.#seal = seal
  }

  /** @throws {StateError} where the record is there and cannot be used, or the medium fails */
  async read<T> (name: string): Promise<T | undefined> {
    const sealed = await this.#store.read(name).catch((error: unknown) => {
      throw new StateError(`the record ${name} cannot be read (${codeOf(error, 'read failed')}): check the state store`, { cause: error })
    })
    if (sealed === undefined) return undefined
    return JSON.parse(this.#seal.open(name, sealed).toString('utf8')) as T
  }

  /** @throws {StateError} where the medium refuses; what was there before is kept */
  async write (name: string, record: unknown): Promise<void> {
    try {
      await this.#store.write(name, this.#seal.close(name, Buffer.from(JSON.stringify(record))))
    } catch (error) {
      throw new StateError(`the record ${name} cannot be saved (${codeOf(error, 'write failed')}): check the space and the permissions of the state store`, { cause: error })
    }
  }

  async delete (name: string): Promise<void> {
    await this.#store.delete(name)
  }

  async lease<T> (name: string, work: () => Promise<T>): Promise<T> {
    return await this.#store.lease(name, work)
  }

  async close (): Promise<void> {
    await this.#store.close()
  }
}

/** LMDB gives the system's number, 28 say, for what everybody else calls ENOSPC. */
function codeOf (error: unknown, otherwise: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : otherwise
  return typeof code === 'number' && code > 0 ? getSystemErrorName(-code) : String(code)
}
