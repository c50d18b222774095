import type { Clock } from '../clock.js'
import type { UpstreamConfig } from '../config/config.js'
import { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import type { Credential, CredentialSource, RefreshTrigger } from './credential.js'

/** Milliseconds: where a call may go out without a credential, it need not wait through an outage for one. */
const PATIENCE_BEFORE_FALLBACK = 5_000

/** Until when a call may wait for a renewal, on the clock's monotonic scale. */
export function patienceOf (exchange: Exchange, { anonymous }: Pick<UpstreamConfig, 'anonymous'>, clock: Clock): number {
  const deadline = exchange.deadline as number
  return anonymous.has('refresh_failed') ? Math.min(deadline, clock.elapsed() + PATIENCE_BEFORE_FALLBACK) : deadline
}

/**
 * Waits for a credential that is good to send and puts it on the exchange. Where none is to be had and the upstream's
 * policy allows it, the call goes on without one.
 * @throws {ValetError} ERR_CREDENTIAL_UNAVAILABLE or ERR_CREDENTIAL_REVOKED
 */
export async function acquire (exchange: Exchange, source: CredentialSource, upstream: UpstreamConfig, clock: Clock, emit: Emit): Promise<void> {
  exchange.refreshed = true
  exchange.deadline = clock.elapsed() + upstream.deadlineMs
  try {
    exchange.credential = await waiting(exchange, 'expired', source.usable(patienceOf(exchange, upstream, clock)))
  } catch (error) {
    if (!upstream.anonymous.has('refresh_failed')) throw error
    emit({ event: 'anonymous', ...exchange.context(), reason: 'refresh_failed' })
    exchange.authority = 'anonymous'
  }
}

/** Has the call's trace tell that it waits for this credential. */
export async function waiting (exchange: Exchange, trigger: RefreshTrigger, renewal: Promise<Credential>): Promise<Credential> {
  const done = exchange.trace?.refresh(trigger)
  if (done === undefined) return await renewal
  try {
    const credential = await renewal
    done('ok')
    return credential
  } catch (error) {
    done(error instanceof ValetError && error.code === 'ERR_CREDENTIAL_REVOKED' ? 'revoked' : 'unavailable')
    throw error
  }
}
