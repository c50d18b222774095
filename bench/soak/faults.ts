/**
 * What goes wrong on purpose, and what an agent must then see.
 *
 * At the MCP server, for one call: `ended_token` (401, and to whoever else brings that token), `refused_401` and `refused_403` (each
 * attempt of the call), `no_scope` (403 insufficient_scope), `status_*`, `reset` (no answer), `cut` (half an answer), `hang`, `slow`.
 * At the issuer, for one token request: `issuer_*`; `issuer_dropped` has spent the refresh token, and its answer is lost.
 */
export const CALL_FAULTS = ['ended_token', 'refused_401', 'refused_403', 'no_scope', 'status_500', 'status_503', 'status_429', 'reset', 'cut', 'hang', 'slow'] as const
export const ISSUER_FAULTS = ['issuer_500', 'issuer_503', 'issuer_429', 'issuer_garbage', 'issuer_reset', 'issuer_dropped', 'issuer_hang', 'issuer_outage', 'issuer_revoked'] as const
export const FAULTS = [...CALL_FAULTS, ...ISSUER_FAULTS] as const

export type CallFault = typeof CALL_FAULTS[number]
export type IssuerFault = typeof ISSUER_FAULTS[number]
export type Fault = CallFault | IssuerFault

/** Of ten thousand calls. Denials in earnest are kept rare: each is a failed authentication that no proxy could mend. */
const CALL_RATES: Readonly<Record<CallFault, number>> = {
  ended_token: 60, refused_401: 6, refused_403: 6, no_scope: 6, status_500: 20, status_503: 20, status_429: 20, reset: 30, cut: 30, hang: 6, slow: 60,
}

/** Of ten thousand token requests. Outages and revocations have a time of their own. */
const ISSUER_RATES: Readonly<Record<Exclude<IssuerFault, 'issuer_outage' | 'issuer_revoked'>, number>> = {
  issuer_500: 200, issuer_503: 200, issuer_429: 200, issuer_garbage: 100, issuer_reset: 150, issuer_dropped: 150, issuer_hang: 60,
}

export function drawCallFault (random: number): CallFault | undefined {
  return draw(CALL_RATES, random)
}

export function drawIssuerFault (random: number): IssuerFault | undefined {
  return draw(ISSUER_RATES, random)
}

function draw<K extends string> (rates: Readonly<Record<K, number>>, random: number): K | undefined {
  let rest = random * 10_000
  for (const [kind, rate] of Object.entries(rates) as Array<[K, number]>) {
    if (rest < rate) return kind
    rest -= rate
  }
  return undefined
}
