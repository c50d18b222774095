import type { Lease } from '../state/store.js'
import { LeaseLostError } from '../state/store.js'
import type { Vault } from '../state/vault.js'
import { keptWith, recordOf, type CredentialRecord, type KeptRecord } from './record.js'

/** Milliseconds until what could not be saved is tried again: doubled each time, up to the longest. */
const FIRST_SAVE_WAIT = 1_000
const LONGEST_SAVE_WAIT = 60_000

/** What could not be saved, and the refresh token that had been spent for it: the one that the store still has. */
interface Unsaved { readonly record: CredentialRecord, readonly spent: string | undefined }

/**
 * What could not be saved of all credentials, by the name of the record and then by seed. One that leaves the config may be
 * back before it is.
 */
export type AllUnsaved = Map<string, Map<string, Unsaved>>

/**
 * One credential's records in the vault: reads them, saves them, and remembers what a full or broken store refused, so
 * that it is saved later, and counts until then.
 */
export class Kept {
  readonly name: string
  readonly #vault: Vault
  readonly #onUnsaved: (error: unknown) => void
  readonly #all: AllUnsaved
  /** How often saving it has failed. */
  #failures = 0

  constructor (name: string, vault: Vault, onUnsaved: (error: unknown) => void, all: AllUnsaved = new Map()) {
    this.name = name
    this.#all = all
    this.#vault = vault
    this.#onUnsaved = onUnsaved
  }

  /** As `Store.shared`. */
  get shared (): boolean {
    return this.#vault.shared
  }

  get #unsaved (): ReadonlyMap<string, Unsaved> {
    return this.#all.get(this.name) ?? NOTHING
  }

  /** Milliseconds after which `saveAgain` should be called; undefined where there is nothing to save. */
  get saveAgainIn (): number | undefined {
    return this.#unsaved.size === 0 ? undefined : Math.min(LONGEST_SAVE_WAIT, FIRST_SAVE_WAIT * 2 ** Math.max(0, this.#failures - 1))
  }

  /** @param digests of the seed; without them what was written last is read, whatever its seed */
  async read (digests?: readonly [string, ...string[]]): Promise<CredentialRecord | undefined> {
    return this.#counted(recordOf(await this.#vault.read<KeptRecord>(this.name), digests), digests?.[0])
  }

  async lease<T> (work: (lease: Lease) => Promise<T>): Promise<T> {
    return await this.#vault.lease(this.name, work)
  }

  /** @throws {StateError | LeaseLostError} and then it is not saved, and nobody will try again */
  async write (record: CredentialRecord, lease: Lease): Promise<void> {
    await this.#vault.write(this.name, keptWith(record, await this.#vault.read<KeptRecord>(this.name)), { lease })
    this.#done(record.seed)
  }

  /**
   * As `write`, but what the store refuses is told and tried again later.
   * @param spent the refresh token that was spent for it
   * @throws {LeaseLostError}
   */
  async save (record: CredentialRecord, spent: string | undefined, lease: Lease): Promise<void> {
    try {
      await this.write(record, lease)
    } catch (error) {
      if (error instanceof LeaseLostError) throw error
      const before = this.#unsaved.get(record.seed)
      this.#all.set(this.name, new Map([...this.#unsaved, [record.seed, { record, spent: before === undefined ? spent : before.spent }]]))
      this.#notSaved(error)
    }
  }

  /** Saves what was refused before, unless somebody else has saved something better. Never throws. */
  async saveAgain (): Promise<void> {
    if (this.#unsaved.size === 0) return
    try {
      await this.lease(async (lease) => {
        for (const [seed, unsaved] of this.#unsaved) {
          const stored = recordOf(await this.#vault.read<KeptRecord>(this.name), [seed])
          if (isBetter(stored, unsaved)) this.#done(seed)
          else await this.write(over(stored, unsaved.record), lease)
        }
      })
    } catch (error) {
      this.#notSaved(error)
    }
  }

  /** What is unsaved counts as long as nobody has brought about anything better. */
  #counted (stored: CredentialRecord | undefined, seed: string | undefined): CredentialRecord | undefined {
    const unsaved = seed === undefined ? [...this.#unsaved.values()].at(-1) : this.#unsaved.get(seed)
    return unsaved === undefined || isBetter(stored, unsaved) ? stored : over(stored, unsaved.record)
  }

  #done (seed: string): void {
    const left = new Map(this.#unsaved)
    left.delete(seed)
    this.#all.set(this.name, left)
    if (left.size > 0) return
    this.#all.delete(this.name)
    this.#failures = 0
  }

  #notSaved (error: unknown): void {
    this.#failures++
    this.#onUnsaved(error)
  }
}

const NOTHING: ReadonlyMap<string, Unsaved> = new Map()

/**
 * Whether what is stored is worth more than what was won. Whoever was told that the grant is over had come late, with the
 * refresh token that was spent for it.
 */
export function isBetter (stored: CredentialRecord | undefined, { record, spent }: Unsaved): boolean {
  if (stored === undefined || stored.revoked === true) return false
  return spent === undefined ? stored.revision >= record.revision : stored.refresh_token !== spent
}

/** What was won as it is to be saved in place of what is stored. */
export function over (stored: CredentialRecord | undefined, record: CredentialRecord): CredentialRecord {
  const { revision = 0, generation = 0 } = stored ?? {}
  return { ...record, revision: Math.max(record.revision, revision + 1), generation: Math.max(record.generation, generation) }
}
