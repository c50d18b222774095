import { setTimeout as sleep } from 'node:timers/promises'
import { fromJsonSchema, McpServer, type CallToolResult, type ServerContext } from '@modelcontextprotocol/server'
import { Secret } from '../secret.js'

const NOTES = [
  { title: 'Session keys', text: 'An agent holds a session key and never a real token.' },
  { title: 'Refresh', text: 'A token is refreshed ahead of its expiry, once for all callers who share it.' },
  { title: 'Replay', text: 'A 401 from the MCP server is mended by a refresh and a replay of the same bytes.' },
  { title: 'Streams', text: 'A refresh never disturbs a stream that is open.' },
]

const readOnly = { readOnlyHint: true, openWorldHint: false }

/** The demo's MCP server: four tools that show who called, with which token, and that progress gets through. */
export function createTools (now: () => number): McpServer {
  const server = new McpServer({ name: 'mcp-valet-demo', version: '1.0.0' })

  server.registerTool('whoami', {
    description: 'Tells as whom, and with which token, this call reached the server.',
    annotations: readOnly,
    outputSchema: schema({ subject: { type: 'string' }, remaining_seconds: { type: 'number' }, fingerprint: { type: 'string' } }),
  }, (ctx: ServerContext) => structured(whoami(ctx, now)))

  server.registerTool('add', {
    description: 'Adds two numbers.',
    annotations: readOnly,
    inputSchema: schema<{ a: number, b: number }>({ a: { type: 'number' }, b: { type: 'number' } }),
  }, ({ a, b }) => text(String(a + b)))

  server.registerTool('search_notes', {
    description: 'Finds the built-in notes that contain a text.',
    annotations: readOnly,
    inputSchema: schema<{ query: string }>({ query: { type: 'string', maxLength: 200 } }),
  }, ({ query }) => text(JSON.stringify(search(query))))

  server.registerTool('slow_count', {
    description: 'Counts to n, one step each interval_ms, and reports its progress.',
    annotations: readOnly,
    inputSchema: schema<{ n: number, interval_ms: number }>({
      n: { type: 'integer', minimum: 1, maximum: 1000 },
      interval_ms: { type: 'integer', minimum: 0, maximum: 60_000 },
    }),
  }, async ({ n, interval_ms: intervalMs }, ctx) => {
    await count(n, intervalMs, ctx)
    return text(`counted to ${n}`)
  })

  return server
}

function whoami (ctx: ServerContext, now: () => number): object {
  const auth = ctx.http?.authInfo
  return {
    subject: auth?.extra?.sub,
    remaining_seconds: Math.max(0, Math.round((auth?.expiresAt ?? 0) - now() / 1000)),
    fingerprint: new Secret(auth?.token ?? '').fingerprint,
  }
}

function search (query: string): object[] {
  const wanted = query.toLowerCase()
  return NOTES.filter(({ title, text }) => `${title} ${text}`.toLowerCase().includes(wanted))
}

async function count (n: number, intervalMs: number, ctx: ServerContext): Promise<void> {
  const progressToken = ctx.mcpReq._meta?.progressToken
  for (let progress = 1; progress <= n; progress++) {
    await sleep(intervalMs, undefined, { signal: ctx.mcpReq.signal })
    if (progressToken === undefined) continue
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: n } })
  }
}

function schema<T> (properties: Record<string, object>) {
  return fromJsonSchema<T>({ type: 'object', properties, required: Object.keys(properties), additionalProperties: false })
}

function text (content: string): CallToolResult {
  return { content: [{ type: 'text', text: content }] }
}

function structured (value: object): CallToolResult {
  return { ...text(JSON.stringify(value)), structuredContent: value as Record<string, unknown> }
}
