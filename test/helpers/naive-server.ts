import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMcpHandler, isLegacyRequest, McpServer, WebStandardStreamableHTTPServerTransport, type AuthInfo } from '@modelcontextprotocol/server'
import type { Test } from 'tap'
import type { Verdict } from '../../src/demo/bearer.js'
import { createEventStore } from '../../src/demo/event-store.js'
import { exchange } from '../../src/demo/fetch-exchange.js'
import { listen, shut } from '../../src/demo/http.js'

interface Session { readonly transport: WebStandardStreamableHTTPServerTransport, readonly subject: string, readonly agent: string, readonly mcp: McpServer }

export interface NaiveServer {
  readonly origin: string
  /** Requests on a session by somebody else than who opened it. */
  readonly intrusions: string[]
  readonly sessions: number
  /** Tokens that it has accepted. */
  readonly tokens: ReadonlySet<string>
}

/**
 * An MCP server on the official SDK 2.4, of both eras, that takes any good token on any session, as many servers do. What
 * it says to an agent bears that agent's mark, `«agent»`, as the header `x-agent` gave it when the session was opened.
 */
export async function startNaive (t: Test, check: (request: IncomingMessage) => Promise<Verdict>, tools: readonly string[]): Promise<NaiveServer> {
  const sessions = new Map<string, Session>()
  const intrusions: string[] = []
  const tokens = new Set<string>()
  const stateless = createMcpHandler(({ requestInfo, authInfo }) => createMarked(markOf(requestInfo?.headers.get('x-agent') ?? '', authInfo), tools), { legacy: 'reject' })

  async function serve (request: Request, auth: AuthInfo): Promise<Response> {
    const [subject, agent] = [String(auth.extra?.sub), request.headers.get('x-agent') ?? '']
    if (!await isLegacyRequest(request.clone())) return await stateless.fetch(request, { authInfo: auth })
    const id = request.headers.get('mcp-session-id')
    const known = sessions.get(id ?? '')
    if (known !== undefined) {
      if (known.subject !== subject || known.agent !== agent) intrusions.push(`${agent} of ${subject} in the session of ${known.agent} of ${known.subject}`)
      return await known.transport.handleRequest(request, { authInfo: auth })
    }
    if (id !== null) return Response.json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null }, { status: 404 })
    const mcp = createMarked(`«${agent}» as ${subject}`, tools)
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => `${randomUUID()}-«${Buffer.from(agent).toString('hex')}»`.replaceAll(/[«»]/g, '~'),
      eventStore: createEventStore(),
      onsessioninitialized: (sessionId) => { sessions.set(sessionId, { transport, subject, agent, mcp }) },
      onsessionclosed: (sessionId) => { sessions.delete(sessionId) },
    })
    await mcp.connect(transport)
    return await transport.handleRequest(request, { authInfo: auth })
  }

  const server = createServer((req, res) => {
    void (async () => {
      const { authInfo, refused } = await check(req)
      if (refused !== undefined) return res.writeHead(401, { 'WWW-Authenticate': 'Bearer error="invalid_token"' }).end()
      tokens.add((authInfo as AuthInfo).token)
      await exchange(req, res, async (request) => await serve(request, authInfo as AuthInfo))
    })().catch(() => res.destroy())
  })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  const pulse = setInterval(() => {
    for (const { mcp, agent, subject } of sessions.values()) mcp.sendLoggingMessage({ level: 'info', data: `for «${agent}» as ${subject}` }).catch(() => {})
  }, 300)
  t.teardown(async () => {
    clearInterval(pulse)
    await stateless.close()
    await shut(server)
  })
  return { origin, intrusions, tokens, get sessions () { return sessions.size } }
}

function markOf (agent: string, authInfo: AuthInfo | undefined): string {
  return `«${agent}» as ${String(authInfo?.extra?.sub)}`
}

function createMarked (mark: string, tools: readonly string[]): McpServer {
  const server = new McpServer({ name: 'naive', version: '1.0.0' }, { capabilities: { logging: {}, tools: { listChanged: true } } })
  const text = (value: string): { content: Array<{ type: 'text', text: string }> } => ({ content: [{ type: 'text', text: value }] })
  server.registerTool('whoami', {}, (ctx) => text(`${mark}, with the token of ${String(ctx.http?.authInfo?.extra?.sub)}`))
  server.registerTool('count', {}, async (ctx) => {
    for (let progress = 1; progress <= 3; progress++) {
      await sleep(50, undefined, { signal: ctx.mcpReq.signal })
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken: 0, progress, message: mark } })
    }
    return text(`counted for ${mark}`)
  })
  for (const name of tools) server.registerTool(name, {}, () => text(`${name} for ${mark}`))
  return server
}
