import type { Asked, Message } from './wire.js'

const STATELESS = '2026-07-28'
const SESSIONS = '2025-11-25'

/** A request of the protocol that has no sessions, whole in itself. */
export function stateless (method: string, params: object = {}, name?: string): Asked {
  return {
    method: 'POST',
    headers: { 'mcp-protocol-version': STATELESS, 'mcp-method': method, ...(name === undefined ? {} : { 'mcp-name': name }) },
    body: {
      jsonrpc: '2.0',
      id: 1,
      method,
      params: {
        ...params,
        _meta: {
          'io.modelcontextprotocol/protocolVersion': STATELESS,
          'io.modelcontextprotocol/clientInfo': { name: 'soak', version: '1' },
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    },
  }
}

export function tool (name: string, args: object = {}): Asked {
  return stateless('tools/call', { name, arguments: args }, name)
}

export const initialize: Asked = {
  method: 'POST',
  body: { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: SESSIONS, capabilities: {}, clientInfo: { name: 'soak', version: '1' } } },
}

/** In a session that `initialize` has opened. */
export function inSession (session: string, asked: Asked): Asked {
  return { ...asked, headers: { ...asked.headers, 'mcp-session-id': session, 'mcp-protocol-version': SESSIONS } }
}

export const initialized: Asked = { method: 'POST', body: { jsonrpc: '2.0', method: 'notifications/initialized' } }

/** A call in such a session. */
export function plainTool (name: string, args: object = {}): Asked {
  return { method: 'POST', body: { jsonrpc: '2.0', id: 9, method: 'tools/call', params: { name, arguments: args } } }
}

/** Counts to n with a word of progress each `everyMs`. */
export function count (n: number, everyMs: number): Asked {
  return {
    method: 'POST',
    body: { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'slow_count', arguments: { n, interval_ms: everyMs }, _meta: { progressToken: 'p' } } },
  }
}

/** Whom the server took the caller for. */
export function subjectOf (messages: readonly Message[]): unknown {
  return (messages.at(-1)?.result?.structuredContent as { subject?: unknown } | undefined)?.subject
}

export function textOf (messages: readonly Message[]): string | undefined {
  return (messages.at(-1)?.result?.content as Array<{ text?: string }> | undefined)?.[0]?.text
}
