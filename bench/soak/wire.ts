import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import type { Seen } from './explain.js'
import { MARK } from './hop.js'
import type { Ledger, Trail } from './ledger.js'

/** Above the sidecar's deadline and its patience with an upstream together. */
const PATIENCE = 75_000

export interface SseEvent { readonly id: string | undefined, readonly data: string }

/** A JSON-RPC message as it came. */
export interface Message { readonly id?: unknown, readonly method?: string, readonly params?: Record<string, unknown>, readonly result?: Record<string, unknown>, readonly error?: { readonly code: number, readonly message: string, readonly data?: { readonly code?: string } } }

export interface Asked {
  readonly method: 'POST' | 'GET' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  /** Told of each event as it comes. */
  readonly onEvent?: (event: SseEvent, leave: () => void) => void
  /** Told when the head is there how to leave, and by which mark the exchange is known. */
  readonly onOpen?: (leave: () => void, mark: string) => void
  /** Milliseconds until the head must be there. */
  readonly patience?: number
}

export interface Reply extends Seen {
  /** The MCP session that the answer named. */
  readonly session: string | undefined
  readonly messages: readonly Message[]
  /** It was us who left. */
  readonly left: boolean
}

/** An agent as anybody might write it on HTTP alone: one URL, one session key, connections of its own. */
export class RawAgent {
  readonly #url: URL
  readonly #key: string
  readonly #agent = new Agent({ keepAlive: true })

  constructor (url: string, key: string) {
    this.#url = new URL(url)
    this.#key = key
  }

  /** Sends a request whose fate is written down. Never throws: a connection that breaks is a reply, too. */
  async ask (ledger: Ledger, principal: string, what: string, asked: Asked): Promise<Reply & { readonly verdict: ReturnType<Ledger['end']> | 'left', readonly trail: Trail }> {
    const trail = ledger.begin(principal, what)
    const reply = await this.send({ ...asked, headers: { ...asked.headers, [MARK]: trail.id } })
    // Whoever leaves has seen no end to judge; the head it has seen.
    const seen = reply.left ? { ...reply, broken: undefined } : reply
    const verdict = reply.left && trail.fault === 'cut' ? 'left' : ledger.end(trail, seen)
    if (verdict === 'left') ledger.leave(trail)
    return { ...reply, verdict, trail }
  }

  async send ({ method, headers, body, onEvent, onOpen, patience = PATIENCE }: Asked): Promise<Reply> {
    return await new Promise((resolve) => {
      const text = body === undefined ? undefined : JSON.stringify(body)
      let left = false
      const messages: Message[] = []
      const end = (response: IncomingMessage | undefined, broken: string | undefined): void => {
        clearTimeout(timer)
        const code = messages.find(({ error }) => error?.data?.code !== undefined)?.error?.data?.code
        resolve({ status: response?.statusCode ?? 0, session: response?.headers['mcp-session-id'] as string | undefined, code, broken, messages, left })
      }
      const sent: ClientRequest = request(this.#url, {
        method,
        agent: this.#agent,
        headers: {
          'x-session-key': this.#key,
          accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
          ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
      }, (response) => {
        clearTimeout(timer)
        const leave = (): void => { left = true; sent.destroy() }
        const take = String(response.headers['content-type']).startsWith('text/event-stream') ? events : whole
        const read = take(messages, (event) => onEvent?.(event, leave))
        response.setEncoding('utf8')
        response.on('data', read.piece).on('end', () => { read.end(); end(response, undefined) })
        response.on('error', (error: NodeJS.ErrnoException) => end(response, error.code ?? error.message))
        onOpen?.(leave, headers?.[MARK] ?? '')
      })
      const timer = setTimeout(() => sent.destroy(Object.assign(new Error('no answer'), { code: `no answer in ${patience / 1000} s` })), patience)
      sent.on('error', (error: NodeJS.ErrnoException) => end(undefined, error.code ?? error.message))
      sent.end(text)
    })
  }

  close (): void {
    this.#agent.destroy()
  }
}

interface Reader { piece (text: string): void, end (): void }

function whole (messages: Message[]): Reader {
  let text = ''
  return {
    piece (more) { text += more },
    end () {
      const message = parsed(text)
      if (message !== undefined) messages.push(message)
    },
  }
}

function events (messages: Message[], tell: (event: SseEvent) => void): Reader {
  let rest = ''
  return {
    piece (text) {
      const blocks = (rest + text).split('\n\n')
      rest = blocks.pop() as string
      for (const block of blocks) {
        const field = (name: string): string | undefined => new RegExp(`^${name}: ?(.*)$`, 'm').exec(block)?.[1]
        const data = field('data') ?? ''
        const message = parsed(data)
        if (message !== undefined) messages.push(message)
        tell({ id: field('id'), data })
      }
    },
    end () {},
  }
}

function parsed (text: string): Message | undefined {
  try {
    return JSON.parse(text) as Message
  } catch {
    return undefined
  }
}
