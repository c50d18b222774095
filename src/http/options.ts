import type { KeyRing } from '../caller/identify.js'
import type { Clock } from '../clock.js'
import type { Config, UpstreamConfig } from '../config/config.js'
import type { CredentialSource } from '../credential/credential.js'
import type { Exchange } from '../exchange.js'
import type { Emit } from '../telemetry/events.js'
import type { OpenCalls } from './open-calls.js'
import type { Limits } from './server.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** The record of this call; null where it goes to no upstream. */
    exchange: Exchange | null
  }
}

export interface ProxyOptions {
  readonly config: Config
  readonly keys: KeyRing
  readonly credentialFor: (principal: string, upstream: string) => CredentialSource | undefined
  readonly clock: Clock
  readonly emit: Emit
  readonly limits: Limits
  readonly calls: OpenCalls
}

export interface RouteOptions extends ProxyOptions {
  readonly upstream: UpstreamConfig
}
