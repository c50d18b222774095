import { randomBytes } from 'node:crypto'
import { systemClock, type Clock } from '../clock.js'
import { LEASE_MS, Leases, WAIT_MS } from './leases.js'
import { isLmdbError, stateErrorOf } from './lmdb-error.js'
import { Expiry } from './lmdb-expiry.js'
import { openStateFile } from './lmdb-file.js'
import { LmdbClaim } from './lmdb-lease.js'
import { ChangeLog } from './lmdb-log.js'
import { thisProcess } from './owner.js'
import { LeaseLostError, StateError, type Store } from './store.js'

export interface LmdbOptions {
  readonly clock?: Clock
  /** Milliseconds after which a lease passes on whose owner has stopped; at once where its process is gone. */
  readonly leaseMs?: number
  /** Milliseconds after which whoever waits for a lease is refused. */
  readonly waitMs?: number
}

/**
 * Records in one LMDB file of this machine, which several processes may share: leases, fenced writes and word of each
 * other's changes are all in that one file, so that each is there exactly when the others are.
 *
 * Not for a network file system, where LMDB's locks and its memory map do not work, nor for containers that share a folder
 * and no PID namespace, as LMDB tells processes by their numbers. A process that is stopped (SIGSTOP, a
 * debugger) in the very moment of a write holds LMDB's own lock, for which the others' writes wait until it goes on or is killed.
 *
 * A write is on the disk when it resolves. It blocks for that time: LMDB's own queue of writes leaves rejections that
 * nobody can catch where the disk is full, and never ends then.
 *
 * Names that begin with `~` are the store's own.
 * @param path a folder; made, for its owner alone, where it does not exist
 * @throws {StateError}
 */
export async function lmdbStore (path: string, options: LmdbOptions = {}): Promise<Store> {
  const { clock = systemClock, leaseMs = LEASE_MS, waitMs = WAIT_MS } = options
  const file = await openStateFile(path)
  const { database, transact } = file
  const store = randomBytes(9).toString('base64url')
  const claims = { file, store, owner: thisProcess(), clock, leaseMs }
  const leases = new Leases((key) => new LmdbClaim(key, claims), { clock, leaseMs, waitMs })
  const log = new ChangeLog(database, store, clock)
  const expiry = new Expiry(file, clock)
  let closed = false
  expiry.begin()

  /** What the system says goes on as it is, for `Vault` to say what was to be done. */
  function told<T> (work: () => T): T {
    if (closed) throw new StateError('the state store is closed')
    try {
      return work()
    } catch (error) {
      throw isLmdbError(error) ? stateErrorOf(`the state folder ${path} cannot be used`, error) : error
    }
  }

  return {
    shared: false,
    read: async (key) => told(() => {
      // Or a read in the same turn as one before would see what was there then, and not what another process has written since.
      database.resetReadTxn()
      return database.getBinary(key)
    }),
    write: async (key, value, { expiresAt, lease } = {}) => told(() => {
      const claim = lease === undefined ? undefined : leases.claimOf(key, lease)
      transact(value.length, () => {
        if (claim?.holds() === false) throw new LeaseLostError(key)
        database.putSync(key, Buffer.from(value))
        expiry.set(key, expiresAt)
        log.append(key)
      })
    }),
    delete: async (key) => told(() => {
      transact(0, () => {
        if (!database.removeSync(key)) return
        expiry.set(key, undefined)
        log.append(key)
      })
    }),
    async * list (prefix) {
      const records = told(() => {
        database.resetReadTxn()
        return database.getRange({ start: prefix })[Symbol.iterator]()
      })
      try {
        for (;;) {
          const next = told(() => records.next())
          if (next.done === true) return
          const { key, value } = next.value
          // In their order those that begin so are together.
          if (!key.startsWith(prefix)) return
          if (!key.startsWith('~')) yield [key, value]
        }
      } finally {
        records.return?.()
      }
    },
    lease: async (key, work) => await leases.run(key, work),
    watch: (listener) => log.watch(listener),
    async close () {
      closed = true
      leases.close()
      log.close()
      expiry.close()
      await file.close()
    },
  }
}
