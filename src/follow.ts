import { SessionBook } from './caller/sessions.js'
import type { Principals } from './credential/principals.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'

export interface Following {
  /** Takes up whatever has been heard, and from now on what is. */
  begin (parts: { readonly sessions: SessionBook, readonly principals: Principals, readonly emit: Emit }): void
  stop (): void
}

/**
 * Follows what other sidecars do to the state that is shared: sessions made and revoked, principals put, tokens renewed.
 * What cannot be read now is taken up with the next change, or when it is needed. It listens at once, since of what is
 * written while the state is read nobody would tell it again.
 */
export function follow (vault: Vault): Following {
  const early = new Set<string | undefined>()
  let heed = (name: string | undefined): void => { early.add(name) }
  return {
    begin ({ sessions, principals, emit }) {
      heed = (name) => {
        takeUp(name, sessions, principals).catch((error: unknown) => {
          emit({ event: 'warning', reason: error instanceof Error ? error.message : 'a change in the state could not be read' })
        })
      }
      early.forEach(heed)
      early.clear()
    },
    stop: vault.watch((name) => heed(name)),
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
