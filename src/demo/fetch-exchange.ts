import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/**
 * Answers a Node request by a web-standard handler, with the request's body unread until the handler reads it.
 *
 * The SDK's own adapter holds the headers of a stream back until its first event, and notices that the client has left
 * only at the next one, so that a silent stream cannot be opened again.
 */
export async function exchange (req: IncomingMessage, res: ServerResponse, handler: (request: Request) => Promise<Response>): Promise<void> {
  const left = new AbortController()
  res.on('close', () => left.abort())

  const response = await handler(toRequest(req, left.signal))
  res.writeHead(response.status, Object.fromEntries(response.headers))
  res.flushHeaders()
  if (response.body === null) {
    res.end()
    return
  }
  // A client that leaves in the middle of a stream is no failure.
  await pipeline(Readable.fromWeb(response.body), res).catch(() => {})
}

function toRequest (req: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers()
  for (const [name, values = []] of Object.entries(req.headersDistinct)) {
    for (const value of values) headers.append(name, value)
  }
  const bodiless = req.method === 'GET' || req.method === 'HEAD'
  return new Request(new URL(req.url ?? '/', `http://${req.headers.host}`), {
    method: req.method ?? 'GET',
    headers,
    signal,
    ...(bodiless ? {} : { body: Readable.toWeb(req) as ReadableStream, duplex: 'half' }),
  })
}
