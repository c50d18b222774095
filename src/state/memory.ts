import { KeyedLock } from './keyed-lock.js'
import type { Store } from './store.js'

/** Forgets everything at exit: for tests, and for principals whose tokens do not rotate. */
export function memoryStore (): Store {
  const records = new Map<string, Uint8Array>()
  const lock = new KeyedLock()
  return {
    read: async (key) => records.get(key),
    write: async (key, value) => { records.set(key, value) },
    delete: async (key) => { records.delete(key) },
    lease: async (key, work) => await lock.run(key, work),
    close: async () => {},
  }
}
