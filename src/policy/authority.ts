import type { AnonymousReason, CallersConfig } from '../config/config.js'
import type { ErrorCode } from '../errors.js'
import type { Identity } from '../caller/identify.js'
import type { Authority } from '../exchange.js'

/**
 * Under which authority a call may go out, by what its caller showed and what the upstream's policy allows.
 *
 * A key that is wrong is refused, however open the upstream is: whoever shows a key means to be somebody.
 */
export function authorityFor (
  identity: Identity,
  anonymous: ReadonlySet<AnonymousReason>,
  callers: Pick<CallersConfig, 'relayAuthorization'>
): Authority | ErrorCode {
  switch (identity.kind) {
    case 'caller': return 'credential'
    case 'refused': return identity.code
    case 'own_token':
      if (callers.relayAuthorization) return 'relay'
  }
  return anonymous.has('no_principal') ? 'anonymous' : 'ERR_SESSION_REQUIRED'
}

export function isErrorCode (verdict: string): verdict is ErrorCode {
  return verdict.startsWith('ERR_')
}
