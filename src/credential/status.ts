import type { CredentialConfig } from '../config/config.js'
import type { CredentialState } from './credential.js'
import type { Failure } from './failure.js'
import { phaseOf } from './lifetime.js'
import type { Renewal } from './renewal.js'

/** How a credential stands. Times in milliseconds since the epoch. */
export interface ProviderStatus {
  readonly type: CredentialConfig['type']
  readonly state: CredentialState
  readonly expiresAt: number | undefined
  readonly refreshedAt: number | undefined
  /** Fingerprint of the token that is held. */
  readonly token: string | undefined
  /** Why the last renewal failed, if it did. */
  readonly reason: string | undefined
}

/** The state that the table and the gauge show. @param now milliseconds since the epoch */
export function stateOf ({ credential, revoked }: Pick<Renewal, 'credential' | 'revoked'>, failure: Failure | undefined, now: number): CredentialState {
  const phase = credential === undefined ? 'dead' : phaseOf(credential, now)
  if (phase !== 'dead') return phase === 'valid' ? 'valid' : 'expiring'
  if (revoked) return 'revoked'
  return credential === undefined || failure !== undefined ? 'failed' : 'expired'
}
