import { Directory, type NewSession, type Session } from './caller/directory.js'
import { JwtCallers } from './caller/jwt.js'
import { systemClock, type Clock } from './clock.js'
import type { Config } from './config/config.js'
import { Principals } from './credential/principals.js'
import { createAdmin } from './http/admin.js'
import { drain } from './http/drain.js'
import { createFront } from './http/front.js'
import { LIMITS, listen, type Limits } from './http/server.js'
import type { Secret } from './secret.js'
import { openState } from './state/open.js'
import type { ValetEvent } from './telemetry/events.js'
import { createMetrics } from './telemetry/metrics.js'
import { VERSION } from './version.js'

/** Milliseconds: a thousand years, far from what a date cannot hold. */
const LONGEST_TTL = 1000 * 365 * 24 * 3_600_000

/** A sidecar that runs. */
export interface Sidecar {
  /** Where agents call: `http://127.0.0.1:8401`, or `unix:/path.sock`; an upstream's path goes behind it. */
  readonly proxyUrl: string
  readonly adminUrl: string
  readonly sessions: Sessions
  /** Ends calls under way and keeps what must be kept. */
  close (): Promise<void>
}

/** The session keys of agents that are made at run time; those of the config are among them. */
export interface Sessions {
  /**
   * @param asked a session without `ttlMs` has no end
   * @returns the key too: the only time that it is to be had
   * @throws {RangeError} for a principal that the config does not name, an agent without a name, a ttl that is none
   */
  create (asked: { principal: string, agent: string, ttlMs?: number }): { id: string, key: Secret, expiresAt: number | undefined }
  /** Its next call is refused. @returns false where there is no such session */
  revoke (id: string): boolean
  list (): Session[]
}

export interface SidecarOptions {
  /** Told of everything that happens; the log of the command is one such listener. */
  readonly onEvent?: (event: ValetEvent) => void
  readonly clock?: Clock
  readonly limits?: Partial<Limits>
}

/**
 * Puts the parts together and starts them. Resolves once both listeners accept calls.
 * @throws {StateError} where the state cannot be opened
 * @throws {SecretRefError | RangeError} where a session key of the config cannot be used
 */
export async function createSidecar (config: Config, options: SidecarOptions = {}): Promise<Sidecar> {
  const clock = options.clock ?? systemClock
  const limits = { ...LIMITS, ...options.limits }
  const { vault, key } = await openState(config.state)
  const upstreams = [...config.upstreams.keys()]
  const metrics = createMetrics(VERSION, upstreams, () => principals.census(upstreams, clock.now()))
  const emit = (event: ValetEvent): void => {
    metrics.observe(event)
    try {
      options.onEvent?.(event)
    } catch {
      // A listener that fails is no reason for a call to fail.
    }
  }
  const principals = new Principals(config.principals.values(), { vault, clock, emit })
  const directory = new Directory(key.derive('session-key'), clock)
  const jwts = config.callers.jwt === undefined ? undefined : new JwtCallers(config.callers.jwt, clock, emit)
  const traffic = { underWay: 0 }
  let closing: Promise<void> | undefined
  const front = createFront({ config, directory, jwts, credentialFor: principals.find.bind(principals), clock, emit, limits, traffic })
  const admin = createAdmin({ limits, metrics, unready: () => closing === undefined ? [] : ['stopping'] })

  async function shutDown (): Promise<void> {
    emit({ event: 'stopping' })
    await drain(front, traffic, clock, limits.grace)
    await principals.close()
    await drain(admin, { underWay: 0 }, clock, 0)
    await vault.close()
    emit({ event: 'stopped' })
  }

  try {
    for (const session of config.sessions) directory.create(session, await session.key.read())
    const proxyUrl = await listen(front, config.listen)
    const adminUrl = await listen(admin, config.admin.listen)
    void principals.warm()
    void jwts?.warm()
    emit({ event: 'listening', proxy: proxyUrl, admin: adminUrl, upstreams, principals: config.principals.size })
    return { proxyUrl, adminUrl, sessions: sessionsOf(directory, principals, clock), close: async () => { await (closing ??= shutDown()) } }
  } catch (error) {
    await Promise.allSettled([front.close(), admin.close(), principals.close()])
    await vault.close()
    throw error
  }
}

function sessionsOf (directory: Directory, principals: Principals, clock: Clock): Sessions {
  return {
    create ({ principal, agent, ttlMs }) {
      if (!principals.has(principal)) throw new RangeError(`no principal ${JSON.stringify(principal)}: add it to the config first`)
      if (!/^[\x21-\x7e][\x20-\x7e]{0,127}$/.test(agent)) throw new RangeError('an agent needs a name of 1 to 128 printable characters')
      // With NaN it would never be over, and no date could show it.
      if (ttlMs !== undefined && !(ttlMs > 0 && ttlMs <= LONGEST_TTL)) throw new RangeError('a ttl is a number of milliseconds above 0')
      const asked: NewSession = { principal, agent, expiresAt: ttlMs === undefined ? undefined : clock.now() + ttlMs }
      const { session, key } = directory.create(asked)
      return { id: session.id, key, expiresAt: session.expiresAt }
    },
    revoke: (id) => directory.revoke(id),
    list: () => directory.list(),
  }
}
