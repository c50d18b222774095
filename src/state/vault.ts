import { getSystemErrorName } from 'node:util'
import type { Seal } from './seal.js'
import { BrokenRecordError, LeaseLostError, StateError, type Lease, type Store, type WriteOptions } from './store.js'

const SPACE = 'check the space and the permissions of the state store'

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
      throw failure(`the record ${name} cannot be read`, error, 'read failed', 'check the state store')
    })
    if (sealed === undefined) return undefined
    const record = this.#opened<T>(name, sealed)
    if (record instanceof StateError) throw record
    return record
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
      throw failure(`the record ${name} cannot be saved`, error, 'write failed', SPACE)
    }
  }

  /** @throws {StateError} where the medium refuses; the record is still there then */
  async delete (name: string): Promise<void> {
    await this.#store.delete(name).catch((error: unknown) => {
      throw failure(`the record ${name} cannot be deleted`, error, 'delete failed', SPACE)
    })
  }

  /**
   * Every record whose name begins so.
   * @param unusable is told of each record that does not open; it is passed over
   * @throws {StateError} where the medium fails
   */
  async * list<T> (prefix: string, unusable: (name: string, error: StateError) => void): AsyncGenerator<readonly [name: string, record: T]> {
    const records = this.#store.list(prefix)[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await records.next().catch((error: unknown) => {
          throw failure(`the records ${prefix}… cannot be read`, error, 'read failed', 'check the state store')
        })
        if (next.done === true) return
        const [name, sealed] = next.value
        const record = this.#opened<T>(name, sealed)
        if (record instanceof StateError) unusable(name, record)
        else yield [name, record]
      }
    } finally {
      // Whoever reads no further must not keep the store at it.
      await records.return?.()
    }
  }

  #opened<T> (name: string, sealed: Uint8Array): T | StateError {
    try {
      return JSON.parse(this.#seal.open(name, sealed).toString('utf8')) as T
    } catch (error) {
      return error instanceof StateError ? error : new BrokenRecordError(`the stored record ${name} is no JSON`)
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

/** A store that knows what to do has said so; of others the code tells most. */
function failure (what: string, error: unknown, otherwise: string, advice: string): StateError {
  if (error instanceof StateError) return new StateError(`${what}: ${error.message}`, { cause: error })
  return new StateError(`${what} (${codeOf(error, otherwise)}): ${advice}`, { cause: error })
}

/** LMDB gives the system's number, 28 say, for what everybody else calls ENOSPC. */
function codeOf (error: unknown, otherwise: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : otherwise
  return typeof code === 'number' && code > 0 ? getSystemErrorName(-code) : String(code)
}
