import type { Guard } from '../../caller/guard.js'
import type { Clock } from '../../clock.js'
import type { SecretRef } from '../../config/config.js'
import type { Control } from '../../control.js'
import type { Emit } from '../../telemetry/events.js'
import type { Metrics } from '../../telemetry/metrics.js'
import type { RecentEvents } from '../../telemetry/recent.js'

export interface AdminOptions {
  readonly metrics: Metrics
  readonly recent: RecentEvents
  /** Aborted when the sidecar ends, and with it what is watched. */
  readonly ending: AbortSignal
  /** Why the sidecar should get no calls now, by name; empty where it should. */
  readonly unready: () => readonly string[]
  readonly clock: Clock
  readonly emit: Emit
  readonly control: Control
  /** What the config of the moment says. */
  readonly settings: () => AdminSettings
  /** Asked at each request, as the proxy's port may be known only once it listens. */
  readonly endpoints: () => Endpoints
}

export interface AdminSettings {
  /** What the API under /v1 asks for; without it that API is off. */
  readonly token: SecretRef | undefined
  /** Whose names in Host are served. */
  readonly guard: Guard
}

/** Where agents call. */
export interface Endpoints {
  /** `http://127.0.0.1:8401`, or `unix:/path.sock`. */
  readonly proxy: string
  /** Name of the header that carries a session key, in lower case. */
  readonly header: string
  readonly upstreams: ReadonlyArray<{ readonly name: string, readonly path: string, readonly url: URL }>
}
