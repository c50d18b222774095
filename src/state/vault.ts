import { getSystemErrorName } from 'node:util'
import type { Seal } from './seal.js'
import { LeaseLostError, StateError, type Lease, type Store, type WriteOptions } from './store.js'

/** A store of JSON records, each sealed under its own name. */
export class Vault {
  readonly #store: Store
  readonly #seal: Seal

  constructor (store: Store, seal: Seal) {
    this.#store = store
    this.#seal = seal
  }

  /** As `Store.shared`. */
  get shared (): boolean {
    return this.#store.shared
  }

  /** @throws {StateError} where the record is there and cannot be used, or the medium fails */
  async read<T> (name: string): Promise<T | undefined> {
    const sealed = await this.#store.read(name).catch((error: unknown) => {
      throw new StateError(`the record ${name} cannot be read (${codeOf(error, 'read failed')}): check the state store`, { cause: error })
    })
    if (sealed === undefined) return undefined
    return JSON.parse(this.#seal.open(name, sealed).toString('utf8')) as T
  }

  /**
   * @throws {StateError} where the medium refuses; what was there before is kept
   * @throws {LeaseLostError}
   */
  async write (name: string, record: unknown, options?: WriteOptions): Promise<void> {
    try {
      await this.#store.write(name, this.#seal.close(name, Buffer.from(JSON.stringify(record))), options)
    } catch (error) {
      if (error instanceof LeaseLostError) throw error
      throw new StateError(`the record ${name} cannot be saved (${codeOf(error, 'write failed')}): check the space and the permissions of the state store`, { cause: error })
    }
  }

  /** @throws {StateError} where the medium refuses; the record is still there then */
  async delete (name: string): Promise<void> {
    await this.#store.delete(name).catch((error: unknown) => {
      throw new StateError(`the record ${name} cannot be deleted (${codeOf(error, 'delete failed')}): check the space and the permissions of the state store`, { cause: error })
    })
  }

  /**
   * Every record whose name begins so.
   * @param unusable is told of each record that does not open; it is passed over
   * @throws {StateError} where the medium fails
   */
  async * list<T> (prefix: string, unusable: (name: string, error: StateError) => void): AsyncGenerator<readonly [name: string, record: T]> {
    const records = this.#store.list(prefix)[Symbol.asyncIterator]()
    for (;;) {
      const next = await records.next().catch((error: unknown) => {
        throw new StateError(`the records ${prefix}… cannot be read (${codeOf(error, 'read failed')}): check the state store`, { cause: error })
      })
      if (next.done === true) return
      const [name, sealed] = next.value
      let record: T
      try {
        record = JSON.parse(this.#seal.open(name, sealed).toString('utf8')) as T
      } catch (error) {
        unusable(name, error instanceof StateError ? error : new StateError(`the stored record ${name} is no JSON`))
        continue
      }
      yield [name, record]
    }
  }

  /** @throws {StateError} where the lease cannot be had */
  async lease<T> (name: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    return await this.#store.lease(name, work)
  }

  /** As `Store.watch`. */
  watch (listener: (name: string | undefined) => void): () => void {
    return this.#store.watch(listener)
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
