import { createGuard, type Guard } from '../caller/guard.js'
import type { Register } from '../caller/identify.js'
import type { Clock } from '../clock.js'
import type { CallersConfig, Config, UpstreamConfig } from '../config/config.js'
import type { CredentialSource } from '../credential/credential.js'
import type { Caller } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import { UpstreamDispatcher } from '../upstream/dispatcher.js'
import type { EndpointStreams } from '../upstream/endpoint.js'
import { reasonOf } from '../upstream/failure.js'
import { requestHeaderFilter, type RequestHeaderFilter } from '../upstream/headers.js'
import { headGuard } from './request-guard.js'
import type { Limits } from './server.js'

/** Paths that a line of the log names. */
const MOST_PATHS = 5

/** One upstream as one config has it. A call keeps the route that it was let in by until it ends. */
export interface Route {
  readonly upstream: UpstreamConfig
  /** Of its URL. */
  readonly origin: string
  readonly dispatcher: UpstreamDispatcher
  /** What an identity is found by. */
  readonly register: Register
  readonly callers: CallersConfig
  /** Which headers of a call go on. */
  readonly filter: RequestHeaderFilter
  readonly credentialFor: (caller: Caller) => CredentialSource | undefined
  /** Whose it is: that is kept up until the last call of its routes has ended. */
  readonly routing: Routing
}

export interface RoutingOptions {
  readonly config: Pick<Config, 'callers' | 'listen' | 'upstreams'>
  readonly keys: Register['keys']
  readonly jwts: Register['jwts']
  readonly credentialFor: (caller: Caller, upstream: string) => CredentialSource | undefined
  /** Of the config of the moment. */
  readonly upstreamNow: (name: string) => UpstreamConfig | undefined
  /** Of all configs: a stream stays with the one that it began under, and its agent's POSTs come to the next. */
  readonly streams: EndpointStreams
  readonly clock: Clock
  readonly emit: Emit
  readonly limits: Limits
}

/** What one config says of calls: which may come in at all, and by which path they reach which upstream. */
export class Routing {
  readonly guard: Guard
  readonly isPlainHead: ReturnType<typeof headGuard>
  /** Name of the header that carries a session key, in lower case. */
  readonly keyHeader: string
  /** For the log, of a call that asks for another path than those: that path itself may hold anything. */
  readonly unknownPath: string
  readonly #routes: ReadonlyMap<string, Route>
  /** Of the paths: few differ, however many upstreams there are. */
  readonly #lengths: readonly number[]

  constructor ({ config, keys, jwts, credentialFor, upstreamNow, clock, emit, limits, streams }: RoutingOptions) {
    const { callers, listen, upstreams } = config
    this.guard = createGuard(callers, listen)
    this.isPlainHead = headGuard(callers.header)
    this.keyHeader = callers.header
    const register = { keyHeader: callers.header, keys, jwts, relay: callers.relayAuthorization }
    const routeTo = (upstream: UpstreamConfig): Route => {
      const { name, headers, url: { origin } } = upstream
      const isCurrent = (): boolean => {
        const now = upstreamNow(name)
        return now === upstream || now?.url.origin === origin
      }
      return {
        upstream,
        origin,
        dispatcher: new UpstreamDispatcher(upstream, clock, emit, limits.stall, streams, isCurrent),
        register,
        callers,
        filter: requestHeaderFilter(callers.header, headers.keys()),
        credentialFor: (caller) => credentialFor(caller, name),
        routing: this,
      }
    }
    this.#routes = new Map([...upstreams.values()].map((upstream) => [upstream.path, routeTo(upstream)]))
    this.#lengths = [...new Set([...this.#routes.keys()].map(({ length }) => length))]
    const paths = [...this.#routes.keys()]
    this.unknownPath = `its path is no upstream's; there are ${paths.slice(0, MOST_PATHS).join(', ')}${paths.length > MOST_PATHS ? ` and ${paths.length - MOST_PATHS} more` : ''}`
    for (const { upstream, dispatcher } of this.#routes.values()) {
      dispatcher.open().catch((error: unknown) => {
        emit({ event: 'warning', reason: `upstream ${upstream.name} cannot be called: ${reasonOf(error)}` })
      })
    }
  }

  /** @param target of a request, as it came; what nearly every call asks for is an upstream's path to the letter */
  find (target: string): Route | undefined {
    return this.#routes.get(target) ?? this.#findBelow(target)
  }

  /** Cuts off whatever is under way. */
  async close (): Promise<void> {
    await Promise.all([...this.#routes.values()].map(async ({ dispatcher }) => await dispatcher.destroy()))
  }

  /** No upstream's path is below another one's: the config has been checked. */
  #findBelow (target: string): Route | undefined {
    for (const length of this.#lengths) {
      const route = target[length] === '/' || target[length] === '?' ? this.#routes.get(target.slice(0, length)) : undefined
      if (route !== undefined) return route
    }
    return undefined
  }
}
