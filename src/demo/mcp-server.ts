import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createMcpHandler, isLegacyRequest, readRequestBody, type AuthInfo } from '@modelcontextprotocol/server'
import { createBearerCheck, type BearerOptions } from './bearer.js'
import { exchange } from './fetch-exchange.js'
import { listen, send, shut } from './http.js'
import { createMcpSessions } from './mcp-sessions.js'
import { createTools } from './mcp-tools.js'

const PATH = '/mcp'
const METADATA_PATH = '/.well-known/oauth-protected-resource'
const KEPT = 100

export interface DemoMcpServerOptions {
  /** Issuer identifier that tokens must name. */
  readonly issuer: string
  /** The issuer's public keys, or the URL to fetch them from when the first token comes. */
  readonly jwks: BearerOptions['jwks']
  /** What tokens must be for; the server's own URL unless given. */
  readonly audience?: string
  readonly host?: string
  readonly port?: number
  /** The server's URL, where it is reached by another name than the one it listens on. */
  readonly url?: string
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /** Told why a request was answered 401, in words of the server's own. */
  readonly onRefused?: (why: string) => void
}

/** One HTTP request, as the server received it: credentials by fingerprint only. */
export interface Received {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Of the answer; 0 until there is one. */
  status: number
  readonly authorization: string | undefined
  readonly apiKey: string | undefined
  readonly sub: string | undefined
  rpcMethod: string | undefined
}

export interface DemoMcpServer {
  /** Of the MCP endpoint. */
  readonly url: string
  readonly audience: string
  /** The last 100 requests, oldest first. */
  received (): readonly Received[]
  /** Refuses a token from now on although it is still good otherwise: what a revocation at the product looks like. */
  rejectToken (fingerprint: string): void
  /** Open sessions of the protocol versions that have them. */
  readonly sessions: number
  close (): Promise<void>
}

/**
 * An MCP server on the official SDK for both protocol eras, with sessions where the era has them, that lets a request in
 * only with the same good token as `Authorization: Bearer` and as `X-API-KEY`.
 *
 * Everything else is 401 with the challenge of RFC 6750 §3 and RFC 9728 §5.1, before any of the body is read.
 */
export async function createDemoMcpServer (options: DemoMcpServerOptions): Promise<DemoMcpServer> {
  const now = options.now ?? Date.now
  const check = createBearerCheck({ issuer: options.issuer, jwks: options.jwks, audience: () => audience, now })
  const sessions = createMcpSessions(() => createTools(now))
  const stateless = createMcpHandler(() => createTools(now), { legacy: 'reject' })
  const received: Received[] = []
  const rejected = new Set<string>()

  const server = createServer((req, res) => {
    route(req, res).catch(() => res.destroy())
  })
  const base = await listen(server, { host: options.host ?? '127.0.0.1', port: options.port ?? 0 })
  const url = options.url ?? `${base}${PATH}`
  const audience = options.audience ?? url
  const metadataUrl = new URL(METADATA_PATH + PATH, url).href

  async function route (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = req.url?.split('?')[0]
    if (path === PATH) return await guard(req, res)
    if (path === '/healthz') return send(res, { status: 200, body: { status: 'ok' } })
    if (path === METADATA_PATH || path === METADATA_PATH + PATH) return send(res, { status: 200, body: metadata() })
    send(res, { status: 404 })
  }

  /** RFC 9728 §2. */
  function metadata (): object {
    return { resource: audience, authorization_servers: [options.issuer], bearer_methods_supported: ['header'] }
  }

  async function guard (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { authorization, apiKey, authInfo, refused } = await check(req)
    const entry: Received = { at: now(), status: 0, authorization, apiKey, sub: authInfo?.extra?.sub as string | undefined, rpcMethod: undefined }
    received.push(entry)
    received.splice(0, received.length - KEPT)

    const why = refused ?? (rejected.has(authorization ?? '') ? 'the token was revoked' : undefined)
    if (why !== undefined) {
      entry.status = 401
      options.onRefused?.(why)
      return send(res, challenge(why))
    }
    await exchange(req, res, async (request) => {
      const response = await serve(entry, request, authInfo as AuthInfo)
      entry.status = response.status
      return response
    })
  }

  function challenge (why: string) {
    const value = `Bearer error="invalid_token", error_description="${why}", resource_metadata="${metadataUrl}"`
    return { status: 401, headers: { 'WWW-Authenticate': value }, body: { error: 'invalid_token', error_description: why } }
  }

  async function serve (entry: Received, request: Request, authInfo: AuthInfo): Promise<Response> {
    const body = await readRequestBody(request.clone())
    if (body.tooLarge) return Response.json({ error: 'the body is too large' }, { status: 413, headers: { Connection: 'close' } })
    const parsedBody = parse(body.text)
    entry.rpcMethod = methodOf(parsedBody)
    const handler = await isLegacyRequest(request, parsedBody) ? sessions : stateless
    return await handler.fetch(request, { parsedBody, authInfo })
  }

  return {
    url,
    audience,
    received: () => received.map((entry) => ({ ...entry })),
    rejectToken: (fingerprint) => {
      rejected.add(fingerprint)
      const [oldest] = rejected
      if (rejected.size > KEPT) rejected.delete(oldest as string)
    },
    get sessions () { return sessions.size },
    close: async () => {
      await Promise.all([sessions.close(), stateless.close()])
      await shut(server)
    },
  }
}

// What is no JSON is left to the SDK, which reads the request again to word its refusal.
function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function methodOf (message: unknown): string | undefined {
  const first: unknown = Array.isArray(message) ? message[0] : message
  return typeof first === 'object' && first !== null && 'method' in first ? String(first.method) : undefined
}
