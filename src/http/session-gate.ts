import type { IncomingMessage } from 'node:http'
import type { Exchange } from '../exchange.js'
import { CallSession, type SessionBinding } from '../mcp/session-binding.js'

/** The query in which an agent brings back where an upstream of MCP 2024-11-05 told it to POST to. */
const ENDPOINT = 'mcp-valet-endpoint'

/** What of a call was bound to its agent, opened. */
export interface Opened {
  readonly session: CallSession
  /** The path at the upstream, where that was named by the upstream itself. */
  readonly target: string | undefined
}

/** @returns undefined where the session or the endpoint of a call is not its caller's */
export function openBound (exchange: Exchange, { headers, url, method, socket }: IncomingMessage, path: string, binding: SessionBinding): Opened | undefined {
  const session = new CallSession(binding, exchange)
  const shown = headers['mcp-session-id']
  if (shown !== undefined && !session.open(String(shown), socket)) return undefined
  const prefix = path.length + ENDPOINT.length + 2
  if (method !== 'POST' || url === undefined || url.length < prefix || url.slice(0, prefix) !== `${path}?${ENDPOINT}=`) return { session, target: undefined }
  const target = binding.open('endpoint', url.slice(prefix), exchange)
  return target === undefined ? undefined : { session, target }
}

/** Where an agent shall POST to, in place of what its upstream names. */
export function boundEndpoint (exchange: Exchange, own: string, path: string, binding: SessionBinding): string {
  return `${path}?${ENDPOINT}=${binding.bind('endpoint', own, exchange)}`
}
