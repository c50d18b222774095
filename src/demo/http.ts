import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a peer answers: an object body is sent as JSON, a string as it stands. */
export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string | object
}

/**
 * Starts to listen; port 0 picks a free one.
 *
 * @returns the base URL without a trailing slash, `http://127.0.0.1:49152`
 * @throws the system's own error, `EADDRINUSE` for example
 */
export async function listen (server: Server, { host, port }: { host: string, port: number }): Promise<string> {
  server.listen(port, host)
  await once(server, 'listening')
  const bound = server.address() as AddressInfo
  return `http://${host.includes(':') ? `[${host}]` : host}:${bound.port}`
}

/** Stops listening and cuts what is still open: a stream would otherwise hold the process for ever. */
export async function shut (server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeAllConnections()
  await closed
}

export function send (res: ServerResponse, { status, headers = {}, body = '' }: Answer): void {
  const json = typeof body === 'object'
  res.writeHead(status, json ? { 'Content-Type': 'application/json', ...headers } : headers)
  res.end(json ? JSON.stringify(body) : body)
}

/** @returns the body as text, or undefined when it is longer than `limit` bytes; the rest is then left unread */
export async function readText (req: IncomingMessage, limit: number): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > limit) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
