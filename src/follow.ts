import { SessionBook } from './caller/sessions.js'
import type { Clock } from './clock.js'
import type { Principals } from './credential/principals.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'

export interface Following {
  /**
   * Takes up whatever has been heard, and from now on what is.
   * @param taken is told of each time
   */
  begin (parts: { readonly sessions: SessionBook, readonly principals: Principals, readonly emit: Emit, taken (): void }): void
  stop (): void
}

/** Milliseconds until what could not be read is tried again: doubled each time, up to the longest. */
const FIRST_WAIT = 1_000
const LONGEST_WAIT = 60_000

/**
 * Follows what other sidecars do to the state that is shared: sessions made and revoked, principals put, tokens renewed.
 * It listens at once, since of what is written while the state is read nobody would tell it again; and what cannot be read
 * now is tried again, as it may be the end of a session.
 */
export function follow (vault: Vault, clock: Clock): Following {
  /** What is still to be taken up; undefined stands for everything. */
  const waiting = new Set<string | undefined>()
  let heed = (name: string | undefined): void => { waiting.add(name) }
  let failures = 0
  let cancel: (() => void) | undefined
  const again = (): void => {
    cancel = undefined
    const names = waiting.has(undefined) ? [undefined] : [...waiting]
    waiting.clear()
    names.forEach((name) => heed(name))
  }
  const stop = vault.watch((name) => heed(name))
  return {
    begin ({ sessions, principals, emit, taken }) {
      heed = (name) => {
        takeUp(name, sessions, principals).then(() => {
          if (waiting.size === 0) failures = 0
          taken()
        }, (error: unknown) => {
          waiting.add(name)
          if (cancel !== undefined) return
          if (failures === 0) emit({ event: 'warning', reason: error instanceof Error ? error.message : 'a change in the state could not be read' })
          cancel = clock.after(Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++), again)
        })
      }
      again()
    },
    stop () {
      stop()
      cancel?.()
      heed = () => {}
    },
  }
}

async function takeUp (name: string | undefined, sessions: SessionBook, principals: Principals): Promise<void> {
  if (name === undefined) {
    await principals.noticeAll()
    await sessions.noticeAll()
  } else if (SessionBook.holds(name)) {
    await sessions.notice(name)
  } else {
    await principals.notice(name)
  }
}
