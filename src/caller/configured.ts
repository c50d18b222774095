import type { SessionConfig } from '../config/config.js'
import type { Finding } from '../config/problem.js'
import { SecretRefError } from '../config/secret-error.js'
import type { SessionInfo } from '../control.js'
import type { Directory } from './directory.js'

/** A session that may be opened, with the hash of its key. */
export interface Draft { readonly session: SessionInfo, readonly hash: Buffer }

/** The sessions of a config with the keys that are where it says at the moment. */
export interface Drafts {
  readonly sessions: ReadonlyMap<SessionConfig, Draft>
  /** The others: why their keys cannot be used, all of them. */
  readonly wrong: readonly Finding[]
}

/**
 * Reads the session keys of a config.
 * @param held under which id a session is open that keeps its key where the one that is read now is no good; undefined where
 *   none does
 */
export async function draftSessions (configured: readonly SessionConfig[], directory: Directory, held?: (session: SessionConfig) => string | undefined): Promise<Drafts> {
  const read: Array<Draft | string> = []
  for (const session of configured) read.push(await draftOne(session, directory))
  const wrong = new Map<number, Finding>()
  const refuse = (index: number, message: string): void => { wrong.set(index, { path: ['sessions', index, 'key'], message }) }
  const inUse = (index: number, by: string): void => refuse(index, `${configured[index]?.key.source} holds a session key that is already in use, by ${by}: each agent needs its own`)
  const owners = new Map<string, number>()
  for (const [index, draft] of read.entries()) {
    if (typeof draft === 'string') {
      refuse(index, draft)
      continue
    }
    const { id } = draft.session
    const first = owners.get(id)
    if (directory.get(id)?.source === 'api') inUse(index, 'a session that was made at run time')
    else if (first === undefined) owners.set(id, index)
    else {
      inUse(index, `sessions[${first}]`)
      if (held !== undefined) inUse(first, `sessions[${index}]`)
    }
  }
  if (held !== undefined) keepApart(held)
  const good = configured.flatMap((session, index) => wrong.has(index) ? [] : [[session, read[index] as Draft] as const])
  return { sessions: new Map(good), wrong: [...wrong.keys()].sort((a, b) => a - b).map((index) => wrong.get(index) as Finding) }

  /** The key that a session keeps is no other's to take, who would act for its principal. */
  function keepApart (held: (session: SessionConfig) => string | undefined): void {
    const kept = [...wrong.keys()]
    for (let at = 0; at < kept.length; at++) {
      const index = kept[at] as number
      const id = held(configured[index] as SessionConfig)
      const taker = id === undefined ? undefined : owners.get(id)
      if (taker === undefined || wrong.has(taker)) continue
      inUse(taker, `sessions[${index}]`)
      kept.push(taker)
    }
  }
}

async function draftOne (session: SessionConfig, directory: Directory): Promise<Draft | string> {
  try {
    return directory.draft(session, await session.key.read(), 'config')
  } catch (error) {
    if (error instanceof SecretRefError) return error.message
    if (error instanceof RangeError) return `${session.key.source} holds what is ${error.message}`
    throw error
  }
}
