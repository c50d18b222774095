import type { Directory, NewSession } from '../../src/caller/directory.js'
import { mintSessionKey } from '../../src/caller/session-key.js'
import type { SessionInfo } from '../../src/control.js'
import type { Secret } from '../../src/secret.js'

/** Opens a session as one of the config. */
export function openSession (directory: Directory, asked: NewSession, key = mintSessionKey()): { session: SessionInfo, key: Secret, hash: Buffer } {
  const { session, hash } = directory.draft(asked, key, 'config')
  directory.open(session, hash)
  return { session, key, hash }
}
