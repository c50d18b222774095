import { Pepper } from './caller/pepper.js'
import { SessionBook } from './caller/sessions.js'
import type { Clock } from './clock.js'
import type { Principals } from './credential/principals.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'

/** Who takes up what is heard. */
interface Followers { readonly sessions: SessionBook, readonly principals: Principals, readonly pepper: Pepper }

export interface Following {
  /**
   * Takes up whatever has been heard, and from now on what is.
   * @param taken is told of each time
   */
  begin (parts: Followers & { readonly emit: Emit, taken (): void }): void
  stop (): void
}

/** Milliseconds until what could not be read is tried again: doubled each time, up to the longest. */
const FIRST_WAIT = 1_000
const LONGEST_WAIT = 60_000
/** Of those that fail at a time. */
const MOST_TOLD = 10
const OTHER_PEPPER = 'the state hashes session keys in another way than this sidecar does, as it was emptied, or is another one than at the start: restart this sidecar, or it will not know the sessions of the others'

/**
 * Follows what other sidecars do to the state that is shared: sessions made and revoked, principals put, tokens renewed.
 * It listens at once, since of what is written while the state is read nobody would tell it again; and what cannot be read
 * now is tried again, as it may be the end of a session. So is an end that could not be saved here.
 */
export function follow (vault: Vault, clock: Clock): Following {
  /** What was heard before anybody could take it up. */
  const heard = new Set<Name>()
  const failing = new Map<Name, Failing>()
  let heed = (name: Name): void => { heard.add(name) }
  let stopped = false
  const stop = vault.watch((name) => heed(name))
  const succeeded = (name: Name): void => {
    // All of it has been read.
    for (const each of name === undefined ? [...failing.keys()] : [name]) {
      failing.get(each)?.cancel()
      failing.delete(each)
    }
  }
  return {
    begin ({ emit, taken, ...followers }) {
      const warn = (reason: string): void => emit({ event: 'warning', reason })
      const failed = (name: Name, error: unknown): void => {
        if (stopped) return
        const before = failing.get(name)
        before?.cancel()
        // Where there are many, they have failed for one reason.
        if (before === undefined && failing.size < MOST_TOLD) warn(error instanceof Error ? error.message : 'a change in the state could not be read')
        const wait = Math.min(LONGEST_WAIT, before === undefined ? FIRST_WAIT : before.wait * 2)
        failing.set(name, { wait, cancel: clock.after(wait, () => heed(name)) })
      }
      heed = (name) => {
        takeUp(name, followers, warn).then(() => {
          succeeded(name)
          taken()
        }, (error: unknown) => failed(name, error))
      }
      followers.sessions.onUnsaved = failed
      for (const name of heard.has(undefined) ? [undefined] : heard) heed(name)
      heard.clear()
    },
    stop () {
      stopped = true
      stop()
      for (const { cancel } of failing.values()) cancel()
      heed = () => {}
    },
  }
}

/** Of a record; undefined stands for all of them. */
type Name = string | undefined

/** What could not be taken up, to be tried again. */
interface Failing {
  /** Milliseconds until it is. */
  readonly wait: number
  readonly cancel: () => void
}

async function takeUp (name: Name, { sessions, principals, pepper }: Followers, warn: (reason: string) => void): Promise<void> {
  if (name === undefined) {
    await principals.noticeAll()
    await sessions.noticeAll()
  }
  if (name === undefined || name === Pepper.NAME) {
    if (!await pepper.uphold()) warn(OTHER_PEPPER)
  } else if (SessionBook.holds(name)) {
    await sessions.notice(name)
  } else {
    await principals.notice(name)
  }
}
