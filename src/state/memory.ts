import { systemClock, type Clock } from '../clock.js'
import { KeyedLock } from './keyed-lock.js'
import type { Store } from './store.js'

/** Number of records at which those that are over are forgotten; then twice what is left, so that it costs little. */
const FIRST_SWEEP = 1_024

/** Forgets everything at exit: for tests, and for principals whose tokens do not rotate. */
export function memoryStore (clock: Clock = systemClock): Store {
  const records = new Map<string, { value: Uint8Array, expiresAt: number | undefined }>()
  const lock = new KeyedLock()
  let sweepAt = FIRST_SWEEP

  function sweep (): void {
    const now = clock.now()
    for (const [key, { expiresAt }] of records) if (expiresAt !== undefined && expiresAt <= now) records.delete(key)
    sweepAt = Math.max(FIRST_SWEEP, 2 * records.size)
  }

  return {
    shared: false,
    read: async (key) => records.get(key)?.value,
    async write (key, value, { expiresAt } = {}) {
      if (records.size >= sweepAt) sweep()
      records.set(key, { value, expiresAt })
    },
    delete: async (key) => { records.delete(key) },
    async * list (prefix) {
      for (const [key, { value }] of records) if (key.startsWith(prefix)) yield [key, value]
    },
    lease: async (key, work) => await lock.run(key, work),
    // Nobody shares it.
    watch: () => () => {},
    close: async () => {},
  }
}
