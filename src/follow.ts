import { SessionBook } from './caller/sessions.js'
import type { Principals } from './credential/principals.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'

/**
 * Follows what other sidecars do to the state that is shared: sessions made and revoked, principals put, tokens renewed.
 * What cannot be read now is taken up with the next change, or when it is needed.
 * @returns ends it
 */
export function follow (vault: Vault, { sessions, principals, emit }: { sessions: SessionBook, principals: Principals, emit: Emit }): () => void {
  const heed = async (name: string | undefined): Promise<void> => {
    try {
      if (name === undefined) {
        await principals.noticeAll()
        await sessions.noticeAll()
      } else if (SessionBook.holds(name)) {
        await sessions.notice(name)
      } else {
        await principals.notice(name)
      }
    } catch (error) {
      emit({ event: 'warning', reason: error instanceof Error ? error.message : 'a change in the state could not be read' })
    }
  }
  return vault.watch((name) => { void heed(name) })
}
