import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Verdict } from '../../src/demo/bearer.js'
import { listen, shut } from '../../src/demo/http.js'
import { Secret } from '../../src/secret.js'
import { Watch } from './watch.js'

/** What is ended with a test; a tap test is one. */
export interface Stoppable { teardown (handler: () => unknown): void }

/** One HTTP request as it passed, tokens by fingerprint. */
export interface Passed {
  readonly method: string
  /** Path and query. */
  readonly url: string
  /** Of `Authorization: Bearer`; undefined where there was none. */
  readonly token: string | undefined
  readonly apiKey: string | undefined
  /** The MCP session: the one that the request named, or the one that its answer opened. */
  session: string | undefined
  readonly rpcMethod: string | undefined
  readonly lastEventId: string | undefined
  readonly headers: IncomingMessage['headers']
  /** Of the answer; 0 until there is one. */
  status: number
  contentType: string
  /** `complete`: the server ended it; `left`: the side that asked did, before its end; `cut`: the test did. */
  end: 'open' | 'complete' | 'left' | 'cut'
}

export interface TokenHop {
  /** `http://127.0.0.1:PORT`; paths are the server's own. */
  readonly origin: string
  readonly passed: Passed[]
  /** Resolves once something that has passed fits, now or later. */
  until (fits: (passed: Passed) => boolean): Promise<Passed>
  /** Breaks the connections of the answers that fit, as a network does. @returns how many */
  cut (fits: (passed: Passed) => boolean): number
  /** Keeps requests that fit, once their token has been found good, until the returned function is called. */
  hold (fits: (passed: Passed) => boolean): () => void
}

/**
 * A real reverse hop in front of an MCP server: answers 401 to whatever `check` refuses, as a resource server with OAuth
 * would, and streams everything else through. Without `check` it only watches.
 */
export async function startHop (t: Stoppable, target: string, check?: (req: IncomingMessage) => Promise<Verdict>): Promise<TokenHop> {
  const { hostname, port } = new URL(target)
  const passed: Passed[] = []
  const connections = new Map<Passed, ServerResponse>()
  const watch = new Watch<Passed>()
  let held: { fits: (entry: Passed) => boolean, open: Promise<void> } | undefined

  async function pass (req: IncomingMessage, res: ServerResponse): Promise<void> {
    // The check comes first, and reads nothing of the body, as a guard in front of a server does.
    const verdict = await check?.(req)
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const entry = entryOf(req, body)
    passed.push(entry)
    connections.set(entry, res)
    res.on('close', () => {
      if (entry.end === 'open') entry.end = res.writableFinished ? 'complete' : 'left'
      connections.delete(entry)
      watch.tell(entry)
    })
    if (verdict?.refused !== undefined) {
      entry.status = 401
      // With a pointer to a login, which must not reach an agent.
      res.writeHead(401, { 'WWW-Authenticate': `Bearer error="invalid_token", error_description="${verdict.refused}", resource_metadata="${target}/.well-known/oauth-protected-resource"` })
      res.end('{"error":"invalid_token"}')
      return
    }
    if (held?.fits(entry) === true) await held.open
    forward(req, res, body, entry)
  }

  function forward (req: IncomingMessage, res: ServerResponse, body: Buffer, entry: Passed): void {
    const onward = httpRequest({ host: hostname, port, path: req.url, method: req.method, headers: req.headers, agent: false }, (answer) => {
      entry.status = answer.statusCode as number
      entry.contentType = answer.headers['content-type'] ?? ''
      entry.session ??= answer.headers['mcp-session-id'] as string | undefined
      res.writeHead(entry.status, answer.headers)
      res.flushHeaders()
      answer.pipe(res)
      answer.on('error', () => res.destroy())
      watch.tell(entry)
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    onward.end(body)
  }

  const server = createServer((req, res) => { pass(req, res).catch(() => res.destroy()) })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => await shut(server))
  return {
    origin,
    passed,
    until: async (fits) => await watch.until(fits, passed),
    cut (fits) {
      const doomed = [...connections].filter(([entry]) => fits(entry))
      for (const [entry, res] of doomed) {
        entry.end = 'cut'
        res.destroy()
      }
      return doomed.length
    },
    hold (fits) {
      let release = (): void => {}
      held = { fits, open: new Promise((resolve) => { release = resolve }) }
      return () => { held = undefined; release() }
    },
  }
}

function entryOf (req: IncomingMessage, body: Buffer): Passed {
  const { headers } = req
  const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]
  const header = (name: string): string | undefined => headers[name] as string | undefined
  return {
    method: req.method as string,
    url: req.url as string,
    token: token === undefined ? undefined : new Secret(token).fingerprint,
    apiKey: header('x-api-key') === undefined ? undefined : new Secret(header('x-api-key') as string).fingerprint,
    session: header('mcp-session-id'),
    rpcMethod: methodOf(body),
    lastEventId: header('last-event-id'),
    headers,
    status: 0,
    contentType: '',
    end: 'open',
  }
}

/** A JSON-RPC method; `response` for an answer to the server's own request. */
function methodOf (body: Buffer): string | undefined {
  if (body.length === 0) return undefined
  const message = JSON.parse(body.toString()) as { method?: string }
  return message.method ?? 'response'
}
