import { pause, type Clock } from '../clock.js'
import type { PrincipalConfig } from '../config/config.js'
import type { Vault } from '../state/vault.js'
import type { CredentialCensus, Emit } from '../telemetry/events.js'
import type { CredentialState } from './credential.js'
import { grantFor } from './grants/index.js'
import { Provider } from './provider.js'

/** Credentials that one issuer is asked for side by side at the start; more would look like an attack to it. */
const WARM_AT_ONCE = 8
/** Milliseconds after which the next ones are begun, though an issuer still owes its answers. */
const WARM_PATIENCE = 1_000

/** Every principal's credentials, by principal and upstream. */
export class Principals {
  readonly #providers = new Map<string, Map<string, Provider>>()
  readonly #clock: Clock
  readonly #closed = new AbortController()

  constructor (principals: Iterable<PrincipalConfig>, options: { vault: Vault, clock: Clock, emit: Emit }) {
    this.#clock = options.clock
    for (const { id, credentials } of principals) {
      const own = new Map<string, Provider>()
      for (const [upstream, config] of credentials) {
        own.set(upstream, new Provider({ principal: id, upstream, grant: grantFor(config, options.clock), ...options }))
      }
      this.#providers.set(id, own)
    }
  }

  has (principal: string): boolean {
    return this.#providers.has(principal)
  }

  /** Undefined where the principal has no credential for this upstream. */
  find (principal: string, upstream: string): Provider | undefined {
    return this.#providers.get(principal)?.get(upstream)
  }

  /** Gets all credentials ready, a few at a time for each issuer. One that cannot be had holds no other up. */
  async warm (): Promise<void> {
    const lanes = new Map<string, Provider[]>()
    for (const provider of this.#all()) {
      const lane = lanes.get(provider.asks)
      lane === undefined ? lanes.set(provider.asks, [provider]) : lane.push(provider)
    }
    await Promise.all([...lanes.values()].map(async (lane) => await this.#warmLane(lane)))
  }

  async #warmLane (lane: Provider[]): Promise<void> {
    const waiting = lane.values()
    const worker = async (): Promise<void> => {
      for (const provider of waiting) {
        const done = new AbortController()
        const patience = pause(this.#clock, WARM_PATIENCE, AbortSignal.any([done.signal, this.#closed.signal]))
        await Promise.race([provider.warm(), patience])
        done.abort()
        if (this.#closed.signal.aborted) return
      }
    }
    await Promise.all(Array.from({ length: WARM_AT_ONCE }, worker))
  }

  census (upstreams: Iterable<string>, now: number): CredentialCensus[] {
    const tallies = new Map([...upstreams].map((upstream) => [upstream, { states: noStates(), soonest: undefined as number | undefined }]))
    for (const provider of this.#all()) {
      const tally = tallies.get(provider.upstream)
      const { state, expiresAt } = provider.status()
      if (tally === undefined) continue
      tally.states[state]++
      if (expiresAt !== undefined) tally.soonest = Math.min(tally.soonest ?? Infinity, (expiresAt - now) / 1000)
    }
    return [...tallies].map(([upstream, tally]) => ({ upstream, ...tally }))
  }

  async close (): Promise<void> {
    this.#closed.abort()
    await Promise.all([...this.#all()].map(async (provider) => await provider.close()))
  }

  * #all (): Generator<Provider> {
    for (const own of this.#providers.values()) yield * own.values()
  }
}

function noStates (): Record<CredentialState, number> {
  return { valid: 0, expiring: 0, expired: 0, failed: 0, revoked: 0 }
}
