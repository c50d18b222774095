import type { Palette } from './report.js'

/** What an agent needs, and what its operator may look at. `key` is printed in full: it is a demo key. */
export interface Access {
  readonly endpoint: string
  readonly key: string
  readonly adminUrl: string
}

/** How to call the demo from an agent of one's own, ready to paste. */
export function pasteable ({ endpoint, key, adminUrl }: Access, { strong, soft }: Palette): string {
  return [
    `  ${strong('It stays up')} ${soft('— the session key is a demo key, shown this once')}`,
    '',
    `  ${soft('Agent config')}`,
    agentConfig(endpoint, key),
    '',
    `  ${soft('curl')}`,
    curl(endpoint, key),
    '',
    `  ${soft('TypeScript')}`,
    `new StreamableHTTPClientTransport(new URL('${endpoint}'), { requestInit: { headers: { 'X-Session-Key': '${key}' } } })`,
    '',
    `  ${soft('Python')}`,
    `streamable_http_client("${endpoint}", http_client=create_mcp_http_client(headers={"X-Session-Key": "${key}"}))`,
    '',
    `  ${soft('Admin')}    ${adminUrl}/metrics  ${adminUrl}/healthz`,
    `  ${soft('Stop')}     Ctrl-C`,
    '',
  ].join('\n') + '\n'
}

/** The `mcpServers` object that most agents read, as JSON. */
export function agentConfig (endpoint: string, key: string): string {
  return JSON.stringify({ mcpServers: { demo: { type: 'http', url: endpoint, headers: { 'X-Session-Key': key } } } }, undefined, 2)
}

/** One call of `whoami` in the stateless protocol version, which needs no handshake first. */
export function curl (endpoint: string, key: string): string {
  const headers = {
    'X-Session-Key': key,
    'Content-Type': 'application/json',
    Accept: 'application/json, text/event-stream',
    'MCP-Protocol-Version': '2026-07-28',
    'Mcp-Method': 'tools/call',
    'Mcp-Name': 'whoami',
  }
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 'curl', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'whoami', arguments: {}, _meta } }
  const flags = Object.entries(headers).map(([name, value]) => `-H '${name}: ${value}'`).join(' ')
  return `curl -s ${endpoint} ${flags} -d '${JSON.stringify(body)}'`
}
