import { LRUCache } from 'lru-cache'
import type { Clock } from '../clock.js'
import type { Config, TokenExchangeConfig } from '../config/config.js'
import { exchangesCallersJwt } from '../config/exchange.js'
import type { Caller, Subject } from '../exchange.js'
import type { Vault } from '../state/vault.js'
import type { Emit } from '../telemetry/events.js'
import type { CredentialSource } from './credential.js'
import type { Grants } from './grants/index.js'
import type { TokenExchanges } from './grants/token-exchange.js'
import { Provider } from './provider.js'

/** Credentials that are held at once; the one that was not used for longest gives way. */
const MOST_HELD = 10_000
/** Milliseconds after which one that nobody has used is no longer renewed: its caller has gone, or has another JWT. */
const IDLE = 10 * 60_000

export interface SubjectsOptions {
  readonly config: Pick<Config, 'principals' | 'upstreams'>
  readonly vault: Vault
  readonly clock: Clock
  readonly emit: Emit
  readonly grants: Grants
  readonly most?: number
}

interface Held {
  readonly provider: Provider
  /** Milliseconds since the epoch. */
  readonly until: number
  /** Monotonic milliseconds. */
  usedAt: number
  cancel: () => void
}

/**
 * The credentials that callers' own JWTs are exchanged for (RFC 8693): one for each principal, upstream and JWT, since what
 * one JWT allows another one of the same principal may not. They are held in memory, for as long as their JWT lives.
 */
export class Subjects {
  readonly #options: SubjectsOptions
  readonly #held: LRUCache<string, Held>
  /** By config, so that an issuer is discovered once and not for each caller. */
  readonly #grants = new Map<TokenExchangeConfig, TokenExchanges>()

  constructor (options: SubjectsOptions) {
    this.#options = options
    this.#held = new LRUCache({ max: options.most ?? MOST_HELD, dispose: drop })
  }

  /** Undefined where the caller showed no JWT, or the config says nothing of exchanging it for this upstream. */
  find ({ principal, subject, expiresAt }: Caller, upstream: string): CredentialSource | undefined {
    if (subject === undefined) return undefined
    const key = `${subject.digest} ${upstream} ${principal}`
    const held = this.#held.get(key) ?? this.#open(key, principal, upstream, subject, expiresAt)
    if (held !== undefined) held.usedAt = this.#options.clock.elapsed()
    return held?.provider
  }

  get size (): number {
    return this.#held.size
  }

  async close (): Promise<void> {
    const providers = [...this.#held.values()].map(({ provider }) => provider)
    this.#held.clear()
    await Promise.all(providers.map(async (provider) => await provider.close()))
  }

  #open (key: string, principal: string, upstream: string, { token, expiresAt }: Subject, goodUntil = expiresAt): Held | undefined {
    const config = this.#configOf(principal, upstream)
    if (config === undefined) return undefined
    const { vault, clock, emit } = this.#options
    const provider = new Provider({ principal, upstream, grant: this.#grantsOf(config)(token), keptAs: `subject/${key}`, vault, clock, emit })
    // Within the clocks' tolerance it is for the issuer to say whether it still takes the JWT.
    const held = { provider, until: clock.now() < expiresAt ? expiresAt : goodUntil, usedAt: clock.elapsed(), cancel: () => {} }
    this.#held.set(key, held)
    this.#watch(key, held)
    return held
  }

  #configOf (principal: string, upstream: string): TokenExchangeConfig | undefined {
    const { principals, upstreams } = this.#options.config
    const own = principals.get(principal)?.credentials.get(upstream)
    if (own !== undefined) return exchangesCallersJwt(own) ? own : undefined
    return upstreams.get(upstream)?.subjectCredential
  }

  #grantsOf (config: TokenExchangeConfig): TokenExchanges {
    const grants = this.#grants.get(config) ?? this.#options.grants.exchangesOf(config)
    this.#grants.set(config, grants)
    return grants
  }

  /** Lets it go when its JWT ends, so that nothing is asked for in its name any more, or when nobody wants it. */
  #watch (key: string, held: Held): void {
    const { clock } = this.#options
    const left = Math.min(held.until - clock.now(), held.usedAt + IDLE - clock.elapsed())
    if (left <= 0) this.#held.delete(key)
    else held.cancel = clock.after(left, () => this.#watch(key, held))
  }
}

function drop ({ provider, cancel }: Held): void {
  cancel()
  void provider.close()
}
