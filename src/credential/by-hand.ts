import type { Clock } from '../clock.js'
import { ControlError } from '../control.js'
import { told } from '../state/told.js'
import { GrantError } from './grants/grant.js'
import type { Provider } from './provider.js'

/** Milliseconds that a refresh by hand may take. */
const PATIENCE_BY_HAND = 20_000

/** Renews a credential now, whatever its expiry. @throws {ControlError} ERR_REFRESH_FAILED, with the reason */
export async function refreshByHand (provider: Provider, clock: Clock): Promise<void> {
  try {
    await told(provider.refresh(clock.elapsed() + PATIENCE_BY_HAND))
  } catch (error) {
    if (error instanceof ControlError) throw error
    const cause = error instanceof Error && error.cause instanceof GrantError ? error.cause : error
    throw new ControlError('ERR_REFRESH_FAILED', [{ path: '', message: cause instanceof GrantError ? cause.reason : 'the renewal failed inside mcp-valet' }], { cause: error })
  }
}
