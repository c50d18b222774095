import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Test } from 'tap'
import { createIssuer, type Issuer, type IssuerOptions } from '../../src/demo/issuer.js'
import { rpc } from './call.js'
import { startSidecar, type StartOptions, type TestSidecar } from './sidecar.js'

/** A token that no other test and no other run has. */
export function freshToken (): string {
  return 'tok_' + randomBytes(18).toString('base64url')
}

/** Resolves when `condition` holds; looks again at each turn of the event loop and gives up after 10 s. */
export async function eventually (condition: () => boolean, what = 'the condition'): Promise<void> {
  const end = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what} did not come about within 10 s`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Counts the requests for a path that have come to any server of this process. */
export function arrivalsAt (t: Test, path: string): () => number {
  let arrived = 0
  const count = (message: unknown): void => { if ((message as { request: IncomingMessage }).request.url === path) arrived++ }
  subscribe('http.server.request.start', count)
  t.teardown(() => { unsubscribe('http.server.request.start', count) })
  return () => arrived
}

export interface Door { open (): void, readonly opened: Promise<void> }

/** A promise with its handle outside: what a test holds shut until it has seen enough. */
export function door (): Door {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  return { open, opened }
}

export interface Flow { readonly sidecar: TestSidecar, readonly url: string, readonly key: string, readonly env: Record<string, string> }

/**
 * A sidecar before one upstream `tools`, with a principal `alice` whose API token is `env.ALICE`: changing that and
 * refusing the old one is what a rotation looks like.
 * @param upstream further lines of the upstream's config, in flow style: `replays: 0, timeouts: { headers: 1s }`
 */
export async function startFlow (t: Test, base: string, upstream = '', options: StartOptions & { more?: string } = {}): Promise<Flow> {
  const { more = '', ...rest } = options
  const env: Record<string, string> = { ALICE: freshToken(), ...options.env }
  const sidecar = await startSidecar(t, `
upstreams:
  tools: { url: "${base}/mcp"${upstream === '' ? '' : ', ' + upstream} }
principals:
  alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } }
${more}`, { ...rest, env })
  return { sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice'), env }
}

export interface Rotating extends Flow { readonly issuer: Issuer, readonly first: string }

/** As `startFlow`, with a rotating refresh token at a real issuer; `first` is the access token to begin with. */
export async function startRotating (t: Test, base: string, options: { upstream?: string, issuer?: Partial<IssuerOptions>, sidecar?: StartOptions } = {}): Promise<Rotating> {
  const issuer = await createIssuer({ audience: `${base}/mcp`, lifetime: 3600, ...options.issuer })
  t.teardown(async () => await issuer.close())
  const login = await issuer.login('alice')
  const env = { ACCESS: login.access_token, REFRESH: login.refresh_token }
  const sidecar = await startSidecar(t, `
upstreams:
  tools: { url: "${base}/mcp"${options.upstream === undefined ? '' : ', ' + options.upstream} }
principals:
  alice:
    credentials:
      tools: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo, refresh_token: { env: REFRESH }, access_token: { env: ACCESS } }
`, { ...options.sidecar, env })
  return { sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice'), env, issuer, first: login.access_token }
}

export interface RawRequest { readonly head: string, readonly body: Buffer, readonly connection: number }

export interface RawUpstream {
  readonly origin: string
  readonly requests: RawRequest[]
  /** Connections that have been made, in order. */
  readonly sockets: Socket[]
  readonly server: Server
}

/** An upstream that speaks bytes: `answer` gets each complete request and writes whatever it likes. */
export async function startRawUpstream (t: Test, answer: (socket: Socket, request: RawRequest) => void): Promise<RawUpstream> {
  const requests: RawRequest[] = []
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    const connection = sockets.push(socket)
    let pending = Buffer.alloc(0)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk])
      for (;;) {
        const end = pending.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = pending.subarray(0, end).toString('latin1')
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
        if (pending.length < end + 4 + length) return
        const request = { head, body: Buffer.from(pending.subarray(end + 4, end + 4 + length)), connection }
        pending = pending.subarray(end + 4 + length)
        requests.push(request)
        answer(socket, request)
      }
    })
  })
  return { ...await listening(t, server, sockets), requests, sockets, server }
}

/** Lets a TCP server listen on a free port and ends it, and its connections, with the test. */
export async function listening (t: Test, server: Server, sockets: Socket[]): Promise<{ origin: string }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** An answer with a length, as bytes. */
export function rawAnswer (body: string, headers = '', status = '200 OK'): string {
  return `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

export interface OpenCall {
  readonly request: ClientRequest
  /** The head of the answer; rejects where the connection ends before one. */
  readonly head: Promise<IncomingMessage>
}

/** A call whose answer the test reads itself, or leaves. */
export function open (url: string, options: { method?: string, key?: string, headers?: Record<string, string>, body?: string | Buffer } = {}): OpenCall {
  const { method = 'POST', key, headers = {} } = options
  const body = options.body ?? (method === 'POST' ? rpc('tools/call', { name: 'slow' }) : undefined)
  const request = httpRequest(url, {
    method,
    agent: false,
    headers: {
      accept: 'application/json, text/event-stream',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { 'x-session-key': key }),
      ...headers,
    },
  })
  const head = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
  })
  head.catch(() => {})
  request.on('error', () => {})
  request.end(body)
  return { request, head }
}

export interface Ending { readonly text: string, readonly complete: boolean }

/** Reads an answer to its end, however it ends. `complete` is whether it ended as HTTP has it. */
export async function drain (response: IncomingMessage): Promise<Ending> {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  response.on('error', () => {})
  await new Promise((resolve) => response.once('close', resolve))
  return { text: Buffer.concat(chunks).toString(), complete: response.complete }
}

/** The next piece of an answer as text. */
export async function piece (response: IncomingMessage): Promise<string> {
  const [chunk] = await once(response, 'data') as [Buffer]
  return chunk.toString()
}
