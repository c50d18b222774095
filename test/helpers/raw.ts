import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** One HTTP/1.1 answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  /** Names in lower case; a name that came twice has both values. */
  readonly headers: ReadonlyMap<string, readonly string[]>
  readonly body: string
  /** All bytes that came, as latin1: this answer and whatever followed it. */
  readonly wire: string
}

/** Connects to a server's URL (`http://host:port`) or socket (`unix:/path`). */
export async function connectTo (url: string): Promise<Socket> {
  const socket = url.startsWith('unix:')
    ? connect(url.slice('unix:'.length))
    : connect(Number(new URL(url).port), new URL(url).hostname)
  await once(socket, 'connect')
  return socket
}

/**
 * Sends bytes that no HTTP client would, and reads until the server closes the connection. A request that is well formed
 * must therefore ask for `Connection: close`.
 */
export async function sendRaw (url: string, bytes: string | Buffer): Promise<RawAnswer> {
  const socket = await connectTo(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  // A server that refuses may close while we still write.
  socket.on('error', () => {})
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  await once(socket, 'close')
  return parseAnswer(Buffer.concat(chunks).toString('latin1'))
}

/** A request's bytes: each line as it is given, with CRLF. The last header is `Connection: close` unless one is given. */
export function requestText (line: string, headers: readonly string[], body = ''): string {
  const close = headers.some((header) => /^connection:/i.test(header)) ? [] : ['Connection: close']
  return [line, ...headers, ...close, '', body].join('\r\n')
}

/** Status 0 where the connection was closed without an answer. */
export function parseAnswer (wire: string): RawAnswer {
  const [head = '', ...rest] = wire.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = new Map<string, string[]>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    headers.set(name, [...headers.get(name) ?? [], line.slice(colon + 1).trim()])
  }
  return { status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0), headers, body: rest.join('\r\n\r\n'), wire }
}

/** How many answers there are in what came. */
export function countAnswers (wire: string): number {
  return wire.match(/HTTP\/1\.[01] \d{3} /g)?.length ?? 0
}
