/** What stands between the load and the upstream in one row of the benchmark. */
import type { Child } from '../lib/children.js'
import type { Secrets, Upstream } from '../lib/upstream.js'

export type TargetName = 'direct' | 'stock' | 'floor' | 'valet' | 'valet-open' | 'valet-tools' | 'nginx' | 'caddy'

/** What a row says of itself in the table, with what makes it comparable or not. */
export const LABELS: Record<TargetName, string> = {
  direct: 'direct',
  stock: '@fastify/http-proxy',
  floor: 'node:http + undici',
  valet: 'mcp-valet',
  'valet-open': 'mcp-valet, policies of *',
  'valet-tools': 'mcp-valet, tools filtered',
  nginx: 'nginx',
  caddy: 'Caddy',
}

export interface Target {
  name: TargetName
  version: string
  port: number
  /** Sent by the load: the session key to every proxy, the credential itself only where there is no proxy. */
  headers: Record<string, string>
  /** The proxy's process; absent for `direct`. */
  child?: Child
  /** mcp-valet's /metrics. */
  metricsUrl?: string
}

/** A row that could not be run, and why: `absent` says that it isn't on this machine, else it is broken. */
export interface Missing { name: TargetName, reason: string, absent: boolean }

export interface Setting { upstream: Upstream, secrets: Secrets, dir: string }

export const SESSION_HEADER = 'X-Session-Key'
