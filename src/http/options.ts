import type { KeyRing } from '../caller/identify.js'
import type { JwtCallers } from '../caller/jwt.js'
import type { Clock } from '../clock.js'
import type { Config, UpstreamConfig } from '../config/config.js'
import type { CredentialSource } from '../credential/credential.js'
import type { Caller, Exchange, ToolPolicy } from '../exchange.js'
import type { SessionBinding } from '../mcp/session-binding.js'
import type { Emit } from '../telemetry/events.js'
import type { Tracing } from '../telemetry/tracing.js'
import type { EndpointStreams } from '../upstream/endpoint.js'
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
  /** Undefined where `callers.jwt` is not set. */
  readonly jwts: JwtCallers | undefined
  readonly credentialFor: (caller: Caller, upstream: string) => CredentialSource | undefined
  /** Which tools a caller may see and call; undefined where it may all. */
  readonly policyFor: (caller: Caller | undefined, upstream: UpstreamConfig) => ToolPolicy | undefined
  /** Ties MCP sessions to the agents that opened them. */
  readonly binding: SessionBinding
  /** Of all configs: a stream stays with the one that it began under, and its agent's POSTs come to the next. */
  readonly streams: EndpointStreams
  readonly clock: Clock
  readonly emit: Emit
  /** Undefined where nobody wants traces. */
  readonly tracing: Tracing | undefined
  readonly limits: Limits
  readonly calls: OpenCalls
  /** Whose application this is: it is kept up until the last of its calls has ended. */
  readonly generation: object
}

export interface RouteOptions extends ProxyOptions {
  readonly upstream: UpstreamConfig
}
