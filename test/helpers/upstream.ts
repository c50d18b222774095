import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
}

export interface TestUpstream {
  /** `http://127.0.0.1:PORT` */
  readonly origin: string
  /** Everything that has arrived, in order. */
  readonly seen: Seen[]
  readonly server: Server
}

export type Answer = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void

/** A real HTTP server on a free port that answers as it is told to and remembers what it was sent; it is closed when the test ends. */
export async function startUpstream (t: Test, answer: Answer = answerJson): Promise<TestUpstream> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const entry = {
        method: request.method as string,
        url: request.url as string,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        body: Buffer.concat(chunks),
      }
      seen.push(entry)
      answer(entry, response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, server }
}

/** The answer of an MCP server to any request with an id. */
export function answerJson (seen: Seen, response: ServerResponse): void {
  let id: unknown = null
  try {
    id = (JSON.parse(seen.body.toString()) as { id?: unknown }).id
  } catch {}
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { ok: true } }))
}

/** Takes the tokens that `accepts` takes, and answers anything else as RFC 6750 has it. */
export function guarded (accepts: (token: string) => boolean, answer: Answer = answerJson, status = 401): Answer {
  return (seen, response, request) => {
    const token = /^Bearer (.+)$/.exec(seen.headers.authorization ?? '')?.[1]
    if (token !== undefined && accepts(token)) return answer(seen, response, request)
    response.writeHead(status, { 'www-authenticate': 'Bearer error="invalid_token", resource_metadata="http://127.0.0.1:1/none"' })
    response.end('no')
  }
}
