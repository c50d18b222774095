import type { Clock } from '../clock.js'
import type { UpstreamConfig } from '../config/config.js'
import type { Caller, Exchange, ToolPolicy } from '../exchange.js'
import type { SessionBinding } from '../mcp/session-binding.js'
import type { Room } from '../room.js'
import type { Emit } from '../telemetry/events.js'
import type { Tracing } from '../telemetry/tracing.js'
import type { OpenCalls } from './open-calls.js'
import type { Route, Routing } from './routing.js'

declare module 'fastify' {
  interface FastifyRequest {
    /** By which it goes to its upstream; null where it goes to none. */
    route: Route | null
    /** The record of this call; null where it goes to no upstream. */
    exchange: Exchange | null
  }
}

/** What the calls of every config share. */
export interface ProxyOptions {
  /** Of the config of the moment. */
  readonly routing: () => Routing
  /** Which tools a caller may see and call; undefined where it may all. */
  readonly policyFor: (caller: Caller | undefined, upstream: UpstreamConfig) => ToolPolicy | undefined
  /** Ties MCP sessions to the agents that opened them. */
  readonly binding: SessionBinding
  readonly clock: Clock
  readonly emit: Emit
  /** Undefined where nobody wants traces. */
  readonly tracing: Tracing | undefined
  readonly calls: OpenCalls
  readonly room: Room
}
