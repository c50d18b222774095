import { KeyedLock } from './keyed-lock.js'
import type { Store } from './store.js'

/** Forgets everything at exit: for tests, and for principals whose tokens do not rotate. */
export function memoryStore (): Store {
  const records = new Map<string, Uint8Array>()
  const lock = new KeyedLock()
  return {
    shared: false,
    read: async (key) => records.get(key),
    write: async (key, value) => { records.set(key, value) },
    delete: async (key) => { records.delete(key) },
    async * list (prefix) {
      for (const record of records) if (record[0].startsWith(prefix)) yield record
    },
    lease: async (key, work) => await lock.run(key, work),
    // Nobody shares it.
    watch: () => () => {},
    close: async () => {},
  }
}
