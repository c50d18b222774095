import type { RefreshEvent } from '../telemetry/events.js'
import type { Credential, RefreshTrigger } from './credential.js'
import type { Failure } from './failure.js'
import type { Renewed } from './renewal.js'

/** What one renewal was about, whatever came of it. */
export interface Attempted {
  readonly principal: string
  readonly upstream: string
  readonly type: RefreshEvent['type']
  readonly trigger: RefreshTrigger
  /** Milliseconds. */
  readonly duration: number
  readonly previous: Credential | undefined
}

/** The event of a renewal that gave a credential; none where it had only been taken up from before. */
export function renewedEvent (attempted: Attempted, { how, credential }: Renewed, now: number): RefreshEvent | undefined {
  if (how === 'found') return undefined
  const { expiresAt, fingerprint } = credential
  return {
    ...common(attempted),
    outcome: how === 'adopted' ? 'adopted' : 'ok',
    token: fingerprint,
    ...(how === 'recovered' ? { reason: 'an earlier renewal had been cut off before its answer could be saved' } : {}),
    ...(expiresAt === undefined ? {} : { expires_in: Math.round((expiresAt - now) / 1000) }),
  }
}

/**
 * The event of a renewal that failed. `attempt` counts the failures in a row, so that an outage of hours need not be as
 * loud as its beginning. What is only remembered is told once, by a process that has not said it yet.
 */
export function failedEvent (attempted: Attempted, { error, count, retryAt }: Failure, elapsed: number): RefreshEvent | undefined {
  if ((error.remembered || error.dormant) && count > 1) return undefined
  return {
    ...common(attempted),
    outcome: error.kind,
    attempt: count,
    reason: error.reason,
    // A grant that is over is not tried again by the clock.
    ...(error.kind === 'revoked' ? {} : { retry_in: Math.ceil(Math.max(0, retryAt - elapsed) / 1000) }),
  }
}

function common ({ previous, ...attempted }: Attempted) {
  return { event: 'refresh', ...attempted, ...(previous === undefined ? {} : { previous: previous.fingerprint }) } as const
}
