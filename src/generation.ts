import { isDeepStrictEqual } from 'node:util'
import type { Directory } from './caller/directory.js'
import { createGuard } from './caller/guard.js'
import { JwtCallers } from './caller/jwt.js'
import type { SessionBook } from './caller/sessions.js'
import type { Clock } from './clock.js'
import type { Config, UpstreamConfig } from './config/config.js'
import type { Grants } from './credential/grants/index.js'
import type { Principals } from './credential/principals.js'
import { Subjects } from './credential/subjects.js'
import type { AdminSettings } from './http/admin.js'
import type { OpenCalls } from './http/open-calls.js'
import { Routing } from './http/routing.js'
import type { Limits } from './http/server.js'
import type { Room } from './room.js'
import type { Vault } from './state/vault.js'
import type { Emit } from './telemetry/events.js'
import type { EndpointStreams } from './upstream/endpoint.js'

/** What outlives every config, and is handed from one generation to the next. */
export interface Lasting {
  readonly vault: Vault
  readonly grants: Grants
  readonly streams: EndpointStreams
  readonly principals: Principals
  readonly directory: Directory
  readonly sessions: SessionBook
  readonly calls: OpenCalls
  readonly room: Room
  readonly limits: Limits
  readonly clock: Clock
  readonly emit: Emit
  /** Of the config of the moment. */
  readonly upstreamNow: (name: string) => UpstreamConfig | undefined
}

/** What one config makes of the sidecar. Small, as a stream keeps the one that it began under, for days perhaps. */
export class Generation {
  readonly config: Config
  readonly routing: Routing
  readonly admin: AdminSettings
  readonly #jwts: JwtCallers | undefined
  readonly #subjects: Subjects
  readonly #calls: OpenCalls

  /** @param before what it succeeds: callers that showed a JWT are known on, where the config says the same of them */
  constructor (config: Config, lasting: Lasting, before?: Generation) {
    const { vault, grants, principals, directory, sessions, calls, room, clock, emit } = lasting
    this.config = config
    this.#calls = calls
    room.fit(Math.max(...[...config.upstreams.values()].map(({ bodyLimit }) => bodyLimit)))
    const { jwt } = config.callers
    const known = before !== undefined && isDeepStrictEqual(jwt, before.config.callers.jwt) ? before.#jwts : undefined
    const jwts = this.#jwts = jwt === undefined ? undefined : known ?? new JwtCallers(jwt, clock, emit)
    const subjects = this.#subjects = new Subjects({ config, vault, clock, emit, grants })
    this.routing = new Routing({
      ...lasting,
      config,
      jwts,
      keys: { find: directory.find.bind(directory), current: directory.current.bind(directory), lapsed: directory.lapsed.bind(directory), seek: config.state.driver === 'memory' ? undefined : sessions.seek.bind(sessions) },
      credentialFor: (caller, upstream) => principals.find(caller.principal, upstream) ?? subjects.find(caller, upstream),
    })
    this.admin = { token: config.admin.token, guard: createGuard(config.callers, config.admin.listen) }
  }

  /** Gets ahead what its callers will need. */
  warm (): void {
    void this.#jwts?.warm()
  }

  /** It has been succeeded: ends once what is under way in it has come to its end. */
  async retire (): Promise<void> {
    await this.#calls.settled(this.routing)
    await this.close()
  }

  async close (): Promise<void> {
    await Promise.all([this.routing.close(), this.#subjects.close()])
  }
}
