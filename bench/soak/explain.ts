import type { CallFault } from './faults.js'

/** What an agent saw of one exchange. */
export interface Seen {
  /** 0 where there was no answer. */
  readonly status: number
  /** The sidecar's own code, where it answered itself. */
  readonly code: string | undefined
  /** Why the answer did not come to its end; undefined where it did. */
  readonly broken: string | undefined
}

/** What was made to go wrong for that exchange. */
export interface Made {
  readonly fault: CallFault | undefined
  /** The issuer has failed this principal lately, and not answered it since, or not in time. */
  readonly issuerFailed: boolean
  /** The principal's grant was ended by its issuer. */
  readonly revoked: boolean
}

export type Verdict = 'ok' | 'injected' | 'ours'

/** An answer of the upstream as it was made, none of ours in its place. */
const PASSED: Partial<Record<CallFault, number>> = { refused_403: 403, no_scope: 403, status_500: 500, status_503: 503, status_429: 429 }
const ANSWERED: Partial<Record<CallFault, string>> = { refused_401: 'ERR_UPSTREAM_UNAUTHORIZED', reset: 'ERR_UPSTREAM_UNREACHABLE', hang: 'ERR_UPSTREAM_TIMEOUT' }

/**
 * Whether what an agent saw is what it had to see. A fault that a sidecar can mend (a token that ended early, an issuer that fails
 * for a moment) explains nothing by itself, and one that it cannot mend must arrive as it was made.
 */
export function judge (seen: Seen, made: Made): Verdict {
  const fine = seen.broken === undefined && seen.code === undefined && seen.status >= 200 && seen.status < 300
  if (made.revoked && seen.code === 'ERR_CREDENTIAL_REVOKED') return 'injected'
  if (made.issuerFailed && seen.code === 'ERR_CREDENTIAL_UNAVAILABLE') return 'injected'
  switch (made.fault) {
    case undefined: case 'slow': case 'ended_token': return fine ? 'ok' : 'ours'
    // An answer that a tool policy has to read first has not begun when it breaks off, so the sidecar answers itself.
    case 'cut': return (seen.broken !== undefined && seen.code === undefined) || seen.code === 'ERR_UPSTREAM_UNREACHABLE' ? 'injected' : 'ours'
    case 'refused_401': case 'reset': case 'hang': return seen.code === ANSWERED[made.fault] ? 'injected' : 'ours'
    default: return seen.broken === undefined && seen.code === undefined && seen.status === PASSED[made.fault] ? 'injected' : 'ours'
  }
}

const AUTHENTICATION = /^ERR_(?:CREDENTIAL|SESSION|STATE)_|^ERR_UPSTREAM_UNAUTHORIZED$/

/** Whether a call failed for authentication, whoever is to blame for it. */
export function isAuthentication ({ status, code }: Seen): boolean {
  return code === undefined ? status === 401 || status === 403 : AUTHENTICATION.test(code)
}

/** How a failure is called in the report. */
export function nameOf ({ status, code, broken }: Seen): string {
  return code ?? (broken === undefined ? `HTTP ${status}` : `broken (${broken})`)
}
