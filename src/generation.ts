import { JwtCallers } from './caller/jwt.js'
import type { SessionBook } from './caller/sessions.js'
import type { Directory } from './caller/directory.js'
import type { Clock } from './clock.js'
import type { Config } from './config/config.js'
import type { Control } from './control.js'
import type { CredentialSource } from './credential/credential.js'
import type { Principals } from './credential/principals.js'
import { Subjects } from './credential/subjects.js'
import type { Caller } from './exchange.js'
import { createAdmin } from './http/admin.js'
import { createFront } from './http/front.js'
import type { OpenCalls } from './http/open-calls.js'
import type { Limits } from './http/server.js'
import type { SessionBinding } from './mcp/session-binding.js'
import type { ToolPolicies } from './policy/tool-policy.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'
import type { Metrics } from './telemetry/metrics.js'
import type { RecentEvents } from './telemetry/recent.js'
import type { Tracing } from './telemetry/tracing.js'
import type { EndpointStreams } from './upstream/endpoint.js'

/** What outlives every config, and is handed from one generation to the next. */
export interface Lasting {
  readonly vault: Vault
  readonly binding: SessionBinding
  readonly streams: EndpointStreams
  readonly principals: Principals
  readonly directory: Directory
  readonly sessions: SessionBook
  readonly policies: ToolPolicies
  readonly calls: OpenCalls
  readonly metrics: Metrics
  readonly recent: RecentEvents
  readonly tracing: Tracing | undefined
  readonly limits: Limits
  readonly clock: Clock
  readonly emit: Emit
  /** Names of what keeps the sidecar from taking calls. */
  readonly unready: () => readonly string[]
  /** Where agents call, once that is known. */
  readonly proxyUrl: () => string
}

/** What one config makes of the sidecar: the applications behind its listeners, and what these alone know. */
export class Generation {
  readonly config: Config
  readonly front: ReturnType<typeof createFront>
  #admin: ReturnType<typeof createAdmin> | undefined
  readonly #jwts: JwtCallers | undefined
  readonly #subjects: Subjects
  readonly #lasting: Lasting
  readonly #succeeded = new AbortController()

  constructor (config: Config, lasting: Lasting) {
    const { vault, principals, directory, sessions, policies, clock, emit } = lasting
    this.config = config
    this.#lasting = lasting
    this.#jwts = config.callers.jwt === undefined ? undefined : new JwtCallers(config.callers.jwt, clock, emit)
    this.#subjects = new Subjects({ config, vault, clock, emit })
    const keys = { find: directory.find.bind(directory), current: directory.current.bind(directory), seek: config.state.driver === 'memory' ? undefined : sessions.seek.bind(sessions) }
    const credentialFor = (caller: Caller, upstream: string): CredentialSource | undefined => principals.find(caller.principal, upstream) ?? this.#subjects.find(caller, upstream)
    this.front = createFront({ ...lasting, generation: this, config, keys, jwts: this.#jwts, credentialFor, policyFor: policies.find.bind(policies) })
    this.#admin = createAdmin({
      ...lasting,
      control: controlOf(lasting),
      succeeded: this.#succeeded.signal,
      token: config.admin.token,
      callers: config.callers,
      listen: config.admin.listen,
      endpoints: () => ({ proxy: lasting.proxyUrl(), header: config.callers.header, upstreams: [...config.upstreams.values()] }),
    })
  }

  /** Resolves once requests may go to its applications. */
  async ready (): Promise<void> {
    await this.front.ready()
    await this.#admin?.ready()
  }

  /** Undefined once it has been succeeded. */
  get admin (): ReturnType<typeof createAdmin> | undefined {
    return this.#admin
  }

  /** Gets ahead what its callers will need. */
  warm (): void {
    void this.#jwts?.warm()
  }

  /** It has been succeeded: ends once what is under way in it has come to its end. */
  async retire (): Promise<void> {
    await this.#closeAdmin()
    await this.#lasting.calls.settled(this)
    await this.close()
  }

  async close (): Promise<void> {
    await Promise.all([this.front.close(), this.#closeAdmin(), this.#subjects.close()])
  }

  /** And lets go of it: a stream may keep a generation for days, and the checks of the admin API are most of its memory. */
  async #closeAdmin (): Promise<void> {
    const admin = this.#admin
    this.#admin = undefined
    this.#succeeded.abort()
    await admin?.close()
  }
}

export function controlOf ({ sessions, principals }: Pick<Lasting, 'sessions' | 'principals'>): Control {
  return { sessions, principals, credentials: principals.credentials }
}
