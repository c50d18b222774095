import { randomUUID } from 'node:crypto'
import { isInitializeRequest, WebStandardStreamableHTTPServerTransport, type McpHandlerRequestOptions, type McpServer } from '@modelcontextprotocol/server'
import { createEventStore } from './event-store.js'

interface Session {
  readonly transport: WebStandardStreamableHTTPServerTransport
  /** Whose it is: another subject that learned the id must not get in. */
  readonly subject: unknown
}

export interface McpSessions {
  fetch (request: Request, options: McpHandlerRequestOptions): Promise<Response>
  readonly size: number
  close (): Promise<void>
}

/**
 * Serves the protocol versions that have sessions (2025-03-26 to 2025-11-25): POST, the GET stream, DELETE, resumption.
 *
 * @param limit sessions kept; beyond it the one unused for longest is closed
 */
export function createMcpSessions (createServer: () => McpServer, limit = 1000): McpSessions {
  const sessions = new Map<string, Session>()

  async function open (subject: unknown): Promise<WebStandardStreamableHTTPServerTransport> {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      eventStore: createEventStore(),
      onsessioninitialized: (id) => { sessions.set(id, { transport, subject }) },
    })
    transport.onclose = () => { sessions.delete(transport.sessionId ?? '') }
    await createServer().connect(transport)
    return transport
  }

  async function evict (): Promise<void> {
    const [oldest] = sessions.values()
    if (sessions.size > limit) await oldest?.transport.close()
  }

  return {
    get size () { return sessions.size },

    async fetch (request, options) {
      const subject = options.authInfo?.extra?.sub
      const id = request.headers.get('mcp-session-id')
      if (id === null) {
        if (!isInitializeRequest(options.parsedBody)) return failure(400, 'Bad Request: Mcp-Session-Id header is required')
        const response = await (await open(subject)).handleRequest(request, options)
        await evict()
        return response
      }

      const session = sessions.get(id)
      if (session === undefined || session.subject !== subject) return failure(404, 'Session not found')
      sessions.delete(id)
      sessions.set(id, session)
      return await session.transport.handleRequest(request, options)
    },

    async close () {
      await Promise.all([...sessions.values()].map(async ({ transport }) => await transport.close()))
    },
  }
}

function failure (status: number, message: string): Response {
  return Response.json({ jsonrpc: '2.0', error: { code: -32000, message }, id: null }, { status })
}
