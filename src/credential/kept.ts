import type { Lease } from '../state/store.js'
import { LeaseLostError } from '../state/store.js'
import type { Vault } from '../state/vault.js'
import type { CredentialRecord } from './record.js'

/** Milliseconds until what could not be saved is tried again: doubled each time, up to the longest. */
const FIRST_SAVE_WAIT = 1_000
const LONGEST_SAVE_WAIT = 60_000

/**
 * One credential's record in the vault: reads it, saves it, and remembers what a full or broken store refused, so that
 * it is saved later.
 */
export class Kept {
  readonly name: string
  readonly #vault: Vault
  readonly #onUnsaved: (error: unknown) => void
  #unsaved: CredentialRecord | undefined
  /** How often saving it has failed. */
  #failures = 0

  constructor (name: string, vault: Vault, onUnsaved: (error: unknown) => void) {
    this.name = name
    this.#vault = vault
    this.#onUnsaved = onUnsaved
  }

  /** As `Store.shared`. */
  get shared (): boolean {
    return this.#vault.shared
  }

  /** Milliseconds after which `saveAgain` should be called; undefined where there is nothing to save. */
  get saveAgainIn (): number | undefined {
    return this.#unsaved === undefined ? undefined : Math.min(LONGEST_SAVE_WAIT, FIRST_SAVE_WAIT * 2 ** (this.#failures - 1))
  }

  async read (): Promise<CredentialRecord | undefined> {
    return await this.#vault.read<CredentialRecord>(this.name)
  }

  async lease<T> (work: (lease: Lease) => Promise<T>): Promise<T> {
    return await this.#vault.lease(this.name, work)
  }

  /** @throws {StateError | LeaseLostError} and then it is not saved, and nobody will try again */
  async write (record: CredentialRecord, lease: Lease): Promise<void> {
    await this.#vault.write(this.name, record, { lease })
    this.#done()
  }

  /**
   * As `write`, but what the store refuses is told and tried again later.
   * @throws {LeaseLostError}
   */
  async save (record: CredentialRecord, lease: Lease): Promise<void> {
    try {
      await this.write(record, lease)
    } catch (error) {
      if (error instanceof LeaseLostError) throw error
      this.#unsaved = record
      this.#notSaved(error)
    }
  }

  /** Saves what was refused before, unless somebody else has saved something newer. Never throws. */
  async saveAgain (): Promise<void> {
    if (this.#unsaved === undefined) return
    try {
      await this.lease(async (lease) => {
        const record = this.#unsaved
        if (record === undefined) return
        const stored = await this.read()
        if (stored !== undefined && stored.revision >= record.revision) this.#done()
        else await this.write(record, lease)
      })
    } catch (error) {
      this.#notSaved(error)
    }
  }

  #done (): void {
    this.#unsaved = undefined
    this.#failures = 0
  }

  #notSaved (error: unknown): void {
    this.#failures++
    this.#onUnsaved(error)
  }
}
