import { getSystemErrorName } from 'node:util'
import { StateError } from './store.js'

/** What LMDB says of a file, by its number (lmdb.h, return codes); the system's own errors are positive there. */
const TOLD: Readonly<Record<number, string>> = {
  [-30797]: 'the state file is damaged, as a page is missing',
  [-30796]: 'the state file is damaged',
  [-30795]: 'the state file could not be written to the end',
  [-30794]: 'the state file was made by another version of LMDB',
  [-30793]: 'the state file is none of LMDB',
  [-30790]: 'too many processes have the state folder open',
}

/** Whether it is LMDB itself that cannot use the file, and not the system that refuses it. */
export function isLmdbError (error: unknown): boolean {
  const code = codeOf(error)
  return typeof code === 'number' && code < 0
}

/** The system's name of an error, `ENOSPC` say; undefined for any other. */
export function systemErrorOf (error: unknown): string | undefined {
  const code = codeOf(error)
  if (typeof code === 'string') return code
  return typeof code === 'number' && code > 0 ? getSystemErrorName(-code) : undefined
}

/** What went wrong, with what to do. @param what `the lease on x cannot be had` */
export function stateErrorOf (what: string, error: unknown): StateError {
  if (error instanceof StateError) return error
  if (isLmdbError(error)) return new StateError(`${what} (${TOLD[codeOf(error) as number] ?? 'the state file cannot be used'}): end mcp-valet and bring the state folder back from a backup, or move it away and log in again`, { cause: error })
  const name = systemErrorOf(error)
  const advice = adviceOn(name)
  return new StateError(`${what} (${name ?? (error as Error).message}): ${advice}`, { cause: error })
}

function adviceOn (name: string | undefined): string {
  if (name === 'ENOSPC' || name === 'EDQUOT' || name === 'EFBIG') return 'free some space there, or name another folder under state.path'
  if (name === 'EAGAIN' || name === 'EBUSY') return 'another program has locked it; end that one'
  return 'make it writable for this user, or name another under state.path'
}

function codeOf (error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
