import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import type { Database } from './lmdb-file.js'

/** Bytes of a record that may be saved from what is set aside. */
const SMALL = 16 * 1024
/** Bytes that are set aside, and of these how many have to be left for a small record: it changes a dozen pages or two. */
const RESERVE = 512 * 1024
const LEAST = 128 * 1024
const STEP = 64 * 1024

/**
 * Room in the state file before it is needed. A full disk then refuses a write here, with an error; refused within a
 * commit, LMDB 3.5 writes its message over what lies behind it in memory, and the process may die of that. And what is set
 * aside lets small records, which tokens are, be saved on a full disk too.
 */
export class Space {
  readonly #database: Database
  readonly #file: number

  constructor (database: Database, path: string) {
    this.#database = database
    this.#file = openSync(path, 'r+')
  }

  /** Within the transaction of the write, so that nobody else makes the file longer meanwhile. @throws what the system says */
  reserve (bytes: number): void {
    const { lastPageNumber, pageSize } = this.#database.getStats() as { lastPageNumber: number, pageSize: number }
    const used = (lastPageNumber + 1) * pageSize
    const { size } = fstatSync(this.#file)
    const wanted = used + 2 * bytes + RESERVE
    if (size >= wanted) return
    try {
      this.#extend(size, Math.ceil(wanted / STEP) * STEP)
    } catch (error) {
      if (bytes > SMALL || size - used < LEAST) throw error
    }
  }

  close (): void {
    closeSync(this.#file)
  }

  /** Written in full: a hole in the file has no room on the disk. */
  #extend (from: number, to: number): void {
    const zeros = Buffer.alloc(STEP)
    for (let at = from; at < to;) at += writeSync(this.#file, zeros, 0, Math.min(STEP, to - at), at)
  }
}
