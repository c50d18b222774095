import type { CredentialCensus } from '../telemetry/events.js'
import type { CredentialState } from './credential.js'
import type { Provider } from './provider.js'

/** How the credentials of each upstream stand. @param now milliseconds since the epoch */
export function censusOf (providers: Iterable<Provider>, upstreams: Iterable<string>, now: number): CredentialCensus[] {
  const tallies = new Map([...upstreams].map((upstream) => [upstream, { states: noStates(), soonest: undefined as number | undefined }]))
  for (const provider of providers) {
    const tally = tallies.get(provider.upstream)
    const { state, expiresAt } = provider.status()
    if (tally === undefined) continue
    tally.states[state]++
    if (expiresAt !== undefined) tally.soonest = Math.min(tally.soonest ?? Infinity, (expiresAt - now) / 1000)
  }
  return [...tallies].map(([upstream, tally]) => ({ upstream, ...tally }))
}

function noStates (): Record<CredentialState, number> {
  return { valid: 0, expiring: 0, expired: 0, failed: 0, revoked: 0 }
}
