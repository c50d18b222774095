import { createServer, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js'
import type { Test } from 'tap'
import type { Verdict } from '../../src/demo/bearer.js'
import { listen, shut } from '../../src/demo/http.js'

export interface LegacyServer {
  /** `http://127.0.0.1:PORT`; the stream is at `/sse`, messages go to `/messages`. */
  readonly origin: string
  /** Messages that arrived, with the session that they were for and who sent them. */
  readonly messages: ReadonlyArray<{ readonly session: string | null, readonly url: string, readonly by: string | undefined, readonly body: string }>
  readonly openStreams: () => number
}

export interface LegacyOptions {
  readonly check: (request: IncomingMessage) => Promise<Verdict>
  /** What the stream says of where to POST to, `/messages` unless given. */
  readonly endpoint?: (origin: string) => string
}

/** An MCP server of 2024-11-05 (HTTP+SSE) on the official SDK 1.32, which checks tokens on every request. */
export async function startLegacy (t: Test, { check, endpoint = () => '/messages' }: LegacyOptions): Promise<LegacyServer> {
  const transports = new Map<string, { readonly transport: SSEServerTransport, readonly by: string | undefined }>()
  const messages: Array<LegacyServer['messages'][number]> = []
  const server = createServer((request, response) => {
    void (async () => {
      const { authInfo, refused } = await check(request)
      const by = authInfo?.extra?.sub as string | undefined
      if (refused !== undefined) return response.writeHead(401, { 'WWW-Authenticate': 'Bearer error="invalid_token"' }).end()
      const url = new URL(request.url as string, 'http://localhost')
      if (request.method === 'GET' && url.pathname === '/sse') {
        const transport = new SSEServerTransport(endpoint(origin), response)
        transports.set(transport.sessionId, { transport, by })
        response.on('close', () => transports.delete(transport.sessionId))
        await createLegacy(by).connect(transport)
        return
      }
      const session = url.searchParams.get('sessionId')
      const open = transports.get(session ?? '')
      if (request.method !== 'POST' || url.pathname !== '/messages' || open === undefined) return response.writeHead(404).end('no such session')
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const body = Buffer.concat(chunks).toString()
      messages.push({ session, url: request.url as string, by, body })
      await open.transport.handlePostMessage(request, response, JSON.parse(body))
    })().catch(() => response.destroy())
  })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => await shut(server))
  return { origin, messages, openStreams: () => transports.size }
}

function createLegacy (by: string | undefined): McpServer {
  const server = new McpServer({ name: 'legacy', version: '1.0.0' })
  const text = (value: string): { content: Array<{ type: 'text', text: string }> } => ({ content: [{ type: 'text', text: value }] })
  server.registerTool('whoami', {}, () => text(String(by)))
  server.registerTool('admin_drop', {}, () => text('dropped'))
  server.registerTool('count', {}, async ({ sendNotification, _meta }) => {
    for (let progress = 1; progress <= 3; progress++) {
      await sleep(20)
      await sendNotification({ method: 'notifications/progress', params: { progressToken: _meta?.progressToken ?? 0, progress } })
    }
    return text('counted')
  })
  return server
}
