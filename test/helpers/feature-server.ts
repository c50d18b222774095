import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  acceptedContent, createMcpHandler, fromJsonSchema, inputRequired, isLegacyRequest, McpServer, WebStandardStreamableHTTPServerTransport,
  type PerRequestResponseMode,
} from '@modelcontextprotocol/server'
import type { Test } from 'tap'
import { exchange } from '../../src/demo/fetch-exchange.js'
import { listen, shut } from '../../src/demo/http.js'

export interface FeatureOptions {
  /** In either era: each answer as one JSON body, or as a stream where there is something to stream. */
  readonly mode?: Extract<PerRequestResponseMode, 'json' | 'auto'>
  /** Which protocol versions it serves: those with sessions, 2026-07-28, or both. */
  readonly eras?: 'legacy' | 'modern' | 'both'
}

export interface FeatureServer {
  readonly origin: string
  /** A tool appears, and everybody who listens is told. */
  changeTools (): void
}

/**
 * An MCP server on the official SDK 2.4 for what the demo's and server-everything do not have: answers in JSON, a list of
 * tools that changes, subscriptions and questions to the user in the stateless era. It checks no token.
 */
export async function startFeatures (t: Test, { mode = 'auto', eras = 'both' }: FeatureOptions = {}): Promise<FeatureServer> {
  const sessions = new Map<string, { transport: WebStandardStreamableHTTPServerTransport, mcp: McpServer }>()
  const stateless = createMcpHandler(createFeatures, { legacy: 'reject', responseMode: mode })

  async function legacy (request: Request): Promise<Response> {
    const id = request.headers.get('mcp-session-id')
    const known = id === null ? undefined : sessions.get(id)
    if (known !== undefined) return await known.transport.handleRequest(request)
    if (id !== null) return Response.json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null }, { status: 404 })
    const mcp = createFeatures()
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: mode === 'json',
      onsessioninitialized: (sessionId) => { sessions.set(sessionId, { transport, mcp }) },
    })
    await mcp.connect(transport)
    return await transport.handleRequest(request)
  }

  async function serve (request: Request): Promise<Response> {
    const old = eras === 'legacy' || (eras === 'both' && await isLegacyRequest(request))
    return old ? await legacy(request) : await stateless.fetch(request)
  }

  const server = createServer((req, res) => { exchange(req, res, serve).catch(() => res.destroy()) })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    await stateless.close()
    await shut(server)
  })
  return {
    origin,
    changeTools () {
      for (const { mcp } of sessions.values()) mcp.registerTool(`new-${randomUUID()}`, {}, () => text('new'))
      stateless.notify.toolsChanged()
    },
  }
}

const CONFIRM = fromJsonSchema<{ sure: boolean }>({ type: 'object', properties: { sure: { type: 'boolean' } }, required: ['sure'] })

function createFeatures (): McpServer {
  const server = new McpServer({ name: 'features', version: '1.0.0' }, { capabilities: { tools: { listChanged: true } } })
  server.registerTool('add', {
    inputSchema: fromJsonSchema<{ a: number, b: number }>({ type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] }),
  }, ({ a, b }) => text(String(a + b)))

  server.registerTool('confirm', {}, (ctx) => {
    const answer = acceptedContent<{ sure: boolean }>(ctx.mcpReq.inputResponses, 'sure')
    if (answer === undefined) return inputRequired({ inputRequests: { sure: inputRequired.elicit({ message: 'Sure?', requestedSchema: CONFIRM }) } })
    return text(`sure: ${answer.sure}`)
  })

  server.registerTool('wait', {}, async (ctx) => {
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken: ctx.mcpReq._meta?.progressToken ?? 0, progress: 1 } })
    await sleep(600_000, undefined, { signal: ctx.mcpReq.signal, ref: false })
    return text('waited')
  })
  return server
}

function text (content: string) {
  return { content: [{ type: 'text' as const, text: content }] }
}
