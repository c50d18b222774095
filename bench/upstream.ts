/**
 * The MCP server of the benchmark, with the token endpoint of the storm. Runs as its own process; `lib/upstream.ts` starts
 * it. It does as little as it can per call: what is measured is what stands in front of it.
 *
 * A call without exactly the expected credential is answered 401, so a proxy that injects nothing fails its row.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { randomBytes, randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { answers, ID_DIGITS, PATHS, type AnswerKind } from './wire.js'

/** What the parent may ask, and what it gets. `expire` makes the storm's token bad from now on. */
export type UpstreamCommand = { do: 'expire' } | { do: 'count' }
export interface UpstreamCounts { tokenRequests: number, tokenRefusals: number, rejected: number, served: number }

const apiToken = process.env['BENCH_TOKEN'] ?? ''
const tokenDelay = Number(process.env['BENCH_TOKEN_DELAY_MS'] ?? 50)
/** The storm's pair: the access token that is good now (none once it has expired) and the refresh token to be used next. */
let good = process.env['BENCH_STORM_ACCESS']
let refreshToken = process.env['BENCH_STORM_REFRESH'] ?? ''
const counts: UpstreamCounts = { tokenRequests: 0, tokenRefusals: 0, rejected: 0, served: 0 }

const server = createServer((req, res) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  req.on('end', () => { answer(req, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), res) })
})
server.keepAliveTimeout = 600_000
server.requestTimeout = 0

function answer (req: IncomingMessage, body: Buffer, res: ServerResponse): void {
  switch (req.url) {
    case PATHS.json: return answerCall(req, body, res, 'json', apiToken)
    case PATHS.sse: return answerCall(req, body, res, 'sse', apiToken)
    case PATHS.storm: return answerCall(req, body, res, 'json', good)
    case PATHS.token: return answerToken(body, res)
  }
  res.writeHead(404).end()
}

function answerCall (req: IncomingMessage, body: Buffer, res: ServerResponse, kind: AnswerKind, token: string | undefined): void {
  if (token === undefined || req.headers.authorization !== `Bearer ${token}` || req.headers['x-api-key'] !== token) {
    counts.rejected++
    res.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Bearer error="invalid_token"' })
    res.end('{"error":"invalid_token"}')
    return
  }
  if (req.headers['mcp-session-id'] === undefined) return answerInitialize(body, res)
  counts.served++
  const template = answers[kind]
  const bytes = Buffer.from(template.bytes)
  const id = body.indexOf('"id":') + 5
  body.copy(bytes, template.idAt, id, id + ID_DIGITS)
  if (kind === 'json') {
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length })
    res.end(bytes)
  } else {
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
    res.write(bytes)
    res.end()
  }
}

function answerInitialize (body: Buffer, res: ServerResponse): void {
  const { id } = JSON.parse(body.toString()) as { id: number }
  const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'bench', version: '1.0.0' } }
  res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': randomUUID() })
  res.end(JSON.stringify({ result, jsonrpc: '2.0', id }))
}

/** RFC 6749 section 6 with rotation: a refresh token that was used before is refused. Slow on purpose. */
function answerToken (body: Buffer, res: ServerResponse): void {
  counts.tokenRequests++
  const form = new URLSearchParams(body.toString())
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  setTimeout(() => {
    if (form.get('grant_type') !== 'refresh_token' || form.get('refresh_token') !== refreshToken) {
      counts.tokenRefusals++
      res.writeHead(400, headers).end('{"error":"invalid_grant"}')
      return
    }
    good = `ai_storm_${randomBytes(24).toString('base64url')}`
    refreshToken = `rt_${randomBytes(24).toString('base64url')}`
    res.writeHead(200, headers)
    res.end(JSON.stringify({ access_token: good, token_type: 'Bearer', expires_in: 3600, refresh_token: refreshToken }))
  }, tokenDelay)
}

process.on('message', (command: UpstreamCommand) => {
  if (command.do === 'expire') good = undefined
  process.send?.({ ...counts })
})
process.on('disconnect', () => { process.exit() })
// The storm opens a thousand connections at once: the default backlog of 511 would drop some for a second.
server.listen(0, '127.0.0.1', 4096, () => { process.send?.({ port: (server.address() as AddressInfo).port }) })
