import type { Clock } from '../clock.js'
import type { Claim } from './leases.js'
import { stateErrorOf } from './lmdb-error.js'
import type { StateFile } from './lmdb-file.js'
import { isGone, type Owner } from './owner.js'

/** Milliseconds between two looks at a lease that somebody else holds. */
const POLL_MS = 40
const FENCE = '~fence'

/** A lease as it is kept under `~lease/<key>`. It is gone once it was given back. */
interface LeaseRecord {
  /** The store that holds it. */
  readonly store: string
  /** Higher than that of every lease before it. */
  readonly fence: number
  /** Counts the renewals. */
  readonly beat: number
  /** Milliseconds that it lasts after the last renewal. */
  readonly ms: number
  readonly owner: Owner
}

export interface LmdbLeaseOptions {
  readonly file: StateFile
  /** Names this store, as two in one process are two owners. */
  readonly store: string
  readonly owner: Owner
  readonly clock: Clock
  readonly leaseMs: number
}

/**
 * A lease among the processes of one machine.
 *
 * No wall clock is compared, as that may be set: a lease has run out once whoever waits for it has seen no sign of life
 * for its whole time, or has seen that its owner's process is gone.
 */
export class LmdbClaim implements Claim {
  readonly #key: string
  readonly #name: string
  readonly #options: LmdbLeaseOptions
  #fence: number | undefined
  /** The sign of life that was seen last, and when. */
  #seen: { sign: string, at: number } | undefined

  constructor (key: string, options: LmdbLeaseOptions) {
    this.#key = key
    this.#name = `~lease/${key}`
    this.#options = options
  }

  async take (): Promise<true | number> {
    const { file: { database }, leaseMs, owner, store } = this.#options
    database.resetReadTxn()
    const there = this.#read()
    if (!this.#isFree(there)) return POLL_MS
    return this.#commit('cannot be had', () => {
      // Looked at anew, now that nobody else writes: somebody may have been quicker, or still be alive.
      if (signOf(this.#read()) !== signOf(there)) return POLL_MS
      const fence = 1 + Number(database.getBinary(FENCE)?.toString() ?? 0)
      database.putSync(FENCE, Buffer.from(String(fence)))
      this.#write({ store, fence, beat: 0, ms: leaseMs, owner })
      this.#fence = fence
      return true
    })
  }

  async renew (): Promise<boolean> {
    return this.#commit('cannot be renewed', () => {
      const mine = this.#mine()
      if (mine !== undefined) this.#write({ ...mine, beat: mine.beat + 1 })
      return mine !== undefined
    })
  }

  async release (): Promise<void> {
    this.#commit('cannot be given back', () => {
      if (this.#mine() !== undefined) this.#options.file.database.removeSync(this.#name)
    })
  }

  /** Whether nobody else has had it since. Means something within a transaction. */
  holds (): boolean {
    return this.#mine() !== undefined
  }

  #commit<T> (what: string, work: () => T): T {
    try {
      return this.#options.file.transact(0, work)
    } catch (error) {
      throw stateErrorOf(`the lease on ${this.#key} ${what}`, error)
    }
  }

  #isFree (there: LeaseRecord | undefined): boolean {
    const { clock, store } = this.#options
    // In this store it is nobody's: the one before could not give it back.
    if (there === undefined || there.store === store) return true
    const sign = signOf(there)
    if (this.#seen?.sign !== sign) this.#seen = { sign, at: clock.elapsed() }
    return clock.elapsed() - this.#seen.at >= there.ms || isGone(there.owner)
  }

  #mine (): LeaseRecord | undefined {
    const there = this.#read()
    return there?.store === this.#options.store && there.fence === this.#fence ? there : undefined
  }

  #read (): LeaseRecord | undefined {
    const value = this.#options.file.database.getBinary(this.#name)
    try {
      return value === undefined ? undefined : JSON.parse(value.toString()) as LeaseRecord
    } catch {
      // Not written here, so nobody's.
      return undefined
    }
  }

  #write (record: LeaseRecord): void {
    this.#options.file.database.putSync(this.#name, Buffer.from(JSON.stringify(record)))
  }
}

function signOf (record: LeaseRecord | undefined): string {
  return record === undefined ? '' : `${record.fence} ${record.beat}`
}
