import { Agent as Connections, fetch } from 'undici'

/** What `whoami` answers: who the MCP server takes the agent for, and by which token. */
export interface WhoAmI {
  readonly subject: string
  readonly remaining_seconds: number
  readonly fingerprint: string
}

export interface Agent {
  tools (): Promise<string[]>
  whoami (): Promise<WhoAmI>
  close (): Promise<void>
}

// Above what any call here takes, and low enough that a demo which hangs says so soon.
const TIMEOUT_MS = 5000

/**
 * An agent as anybody would write it, on the official client: it knows one URL and one session key, and no token.
 *
 * @throws the client's own errors; ERR_MODULE_NOT_FOUND where the SDK is not installed
 */
export async function connectAgent (endpoint: string, key: string): Promise<Agent> {
  const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client')
  const client = new Client({ name: 'demo-agent', version: '1.0.0' })
  // The pool that all of a process's fetches share would keep connections open after the agent has gone.
  const connections = new Connections()
  const transport = new StreamableHTTPClientTransport(new URL(endpoint), {
    requestInit: { headers: { 'X-Session-Key': key } },
    fetch: (async (url: string, init: object) => await fetch(url, { ...init, dispatcher: connections })) as unknown as typeof globalThis.fetch,
  })
  const close = async (): Promise<void> => {
    await transport.terminateSession().catch(() => {})
    await client.close()
    await connections.destroy()
  }

  try {
    await client.connect(transport, { timeout: TIMEOUT_MS })
  } catch (error) {
    await close()
    throw error
  }
  return {
    tools: async () => {
      const { tools } = await client.listTools(undefined, { timeout: TIMEOUT_MS })
      return tools.map(({ name }) => name)
    },
    whoami: async () => {
      const { structuredContent } = await client.callTool({ name: 'whoami' }, { timeout: TIMEOUT_MS })
      return structuredContent as unknown as WhoAmI
    },
    close,
  }
}
