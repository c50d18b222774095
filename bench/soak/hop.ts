import { Agent, createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { drawCallFault, type CallFault } from './faults.js'
import type { Ledger, Trail } from './ledger.js'

/** By which an exchange is known where it arrives. */
export const MARK = 'x-soak-call'
/** Between two tokens that end early, for one principal: a server that ends one after another is refusing, not renewing. */
const ENDED_APART = 5_000

/** Stands before the MCP server and makes it fail. */
export interface Hop {
  readonly url: string
  /** Where it passes requests on to, once that is known. */
  target: string
  /** Whether calls are made to fail. */
  failing: boolean
  /** Sends an event down a stream that listens. @returns whether it is there */
  poke (mark: string, event: string): boolean
  close (): Promise<void>
}

export async function startHop (ledger: Ledger): Promise<Hop> {
  const connections = new Agent({ keepAlive: true })
  const listening = new Map<string, ServerResponse>()
  const tokens = new Tokens()
  // Longer than the sidecar's own patience, or it would use a connection that is being closed here: a fault that nobody declared.
  const server = createServer({ keepAliveTimeout: 12_000 }, (req, res) => {
    void take(req, res).catch(() => res.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const hop: Hop = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target: '',
    failing: false,
    poke (mark, event) {
      const response = listening.get(mark)
      response?.write(event)
      return response !== undefined
    },
    close: async () => {
      await shut(server)
      connections.destroy()
    },
  }

  async function take (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const body = await whole(req)
    const mark = req.headers[MARK] as string | undefined
    const trail = ledger.of(mark)
    const token = String(req.headers['x-api-key'])
    if (tokens.ended(token)) return refuse(res, 401, 'invalid_token')
    const fault = trail === undefined ? undefined : trail.fault === undefined ? draw(trail, req, body, token) : again(trail.fault)
    if (fault === undefined || !await fail(fault, res, token)) return pass(req, res, body, fault === 'cut', mark)
  }

  function draw (trail: Trail, req: IncomingMessage, body: Buffer, token: string): CallFault | undefined {
    const fault = hop.failing ? drawCallFault(Math.random()) : undefined
    // A notification has no answer that could be cut or that anybody waits for.
    const may = req.method === 'POST' ? body.includes('"id"') : req.method === 'GET' && fault === 'cut'
    if (fault === undefined || !may) return undefined
    if (fault === 'ended_token' && !tokens.mayEnd(token, trail.principal)) return undefined
    ledger.note(trail, fault)
    return fault
  }

  /** @returns whether that was all of it */
  async function fail (fault: CallFault, res: ServerResponse, token: string): Promise<boolean> {
    switch (fault) {
      case 'cut': return false
      case 'slow':
        await sleep(300 + Math.random() * 2_500)
        return false
      case 'ended_token':
        tokens.end(token)
        refuse(res, 401, 'invalid_token')
        return true
      case 'refused_401': refuse(res, 401, 'invalid_token'); return true
      case 'refused_403': refuse(res, 403); return true
      case 'no_scope': refuse(res, 403, 'insufficient_scope'); return true
      case 'reset': res.socket?.resetAndDestroy(); return true
      case 'hang': return true
      default:
        res.writeHead(Number(fault.slice(-3)), { 'content-type': 'text/plain', 'retry-after': '1' }).end('made to fail')
        return true
    }
  }

  function pass (req: IncomingMessage, res: ServerResponse, body: Buffer, cut: boolean, mark: string | undefined): void {
    const { host: _, ...headers } = req.headers
    const forward = request(`${hop.target}${req.url}`, { method: req.method, headers, agent: connections }, (answer) => {
      if ((answer.statusCode as number) < 400) tokens.accepted(String(req.headers['x-api-key']))
      res.writeHead(answer.statusCode as number, answer.headers)
      res.flushHeaders()
      if (cut) return half(answer, res)
      if (req.method === 'GET' && mark !== undefined) {
        listening.set(mark, res)
        res.once('close', () => listening.delete(mark))
      }
      answer.on('error', () => res.destroy()).pipe(res)
    })
    forward.on('error', () => {
      // The server behind has closed a connection that had rested: that is between the two of them, and no fault to declare.
      if (forward.reusedSocket && !res.headersSent && !res.destroyed) pass(req, res, body, cut, mark)
      else res.destroy()
    })
    res.once('close', () => { if (!res.writableFinished) forward.destroy() })
    forward.end(body)
  }

  return hop
}

/** A call that was made to fail does so at each attempt; a token ends once. */
function again (fault: CallFault): CallFault | undefined {
  return fault === 'ended_token' ? undefined : fault
}

/** Hands on some of the pieces, or half of the only one, and breaks off. */
function half (answer: IncomingMessage, res: ServerResponse): void {
  let pieces = 1 + Math.floor(Math.random() * 6)
  const stop = (): void => { setTimeout(() => res.destroy(), 20) }
  answer.on('error', () => res.destroy()).on('end', stop).on('data', (piece: Buffer) => {
    const last = --pieces === 0 || !String(answer.headers['content-type']).startsWith('text/event-stream')
    res.write(last ? piece.subarray(0, piece.length >> 1) : piece)
    if (!last) return
    answer.pause()
    stop()
  })
}

function refuse (res: ServerResponse, status: number, error?: string): void {
  res.writeHead(status, error === undefined ? {} : { 'www-authenticate': `Bearer error="${error}"` }).end('{"error":"refused"}')
}

async function whole (req: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of req) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

async function shut (server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
}

/** The tokens of the last minutes: those that were good, and those that have been ended before their time. */
class Tokens {
  readonly #good = new Set<string>()
  readonly #ended = new Set<string>()
  readonly #endedAt = new Map<string, number>()

  ended (token: string): boolean { return this.#ended.has(token) }
  accepted (token: string): void { remember(this.#good, token) }

  mayEnd (token: string, principal: string): boolean {
    const now = performance.now()
    if (!this.#good.has(token) || now - (this.#endedAt.get(principal) ?? -Infinity) < ENDED_APART) return false
    this.#endedAt.set(principal, now)
    return true
  }

  end (token: string): void { remember(this.#ended, token) }
}

function remember (set: Set<string>, token: string): void {
  set.add(token)
  const [oldest] = set
  if (set.size > 2_000) set.delete(oldest as string)
}
