import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pause, type Clock } from '../clock.js'
import { cancelled } from './ask.js'
import { page, PAGE_HEADERS } from './page.js'
import { LoginError } from './problem.js'

const HOST = '127.0.0.1'
const PATH = '/callback'
const LARGEST_HEAD = 16 * 1024
const MOST_CONNECTIONS = 64

export interface RedirectOptions {
  /** 0 picks a free one. */
  readonly port: number
  /** What tells the answer to this login from any other request. */
  readonly state: string
  /** Told of each answer with another state, of which none counts. */
  readonly onStray: () => void
}

/** The browser's way back (RFC 8252 §7.3): a listener on this machine that takes one answer. */
export interface Redirect {
  readonly uri: string
  readonly port: number
  /**
   * Resolves with the answer that bears the state.
   * @throws {LoginError} where none comes in time, or `stop` is aborted
   */
  answer (clock: Clock, timeoutMs: number, stop: AbortSignal): Promise<URLSearchParams>
  /** Shows the browser that waits how the login ended. */
  show (title: string, text: string): Promise<void>
  close (): Promise<void>
}

/** @throws {LoginError} where the port cannot be had */
export async function openRedirect (options: RedirectOptions): Promise<Redirect> {
  let taken: { parameters: URLSearchParams, response: ServerResponse } | undefined
  let told: (parameters: URLSearchParams) => void
  const answered = new Promise<URLSearchParams>((resolve) => { told = resolve })
  const server = createServer({ maxHeaderSize: LARGEST_HEAD, headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    const refused = refusal(request, port)
    if (refused !== undefined) return send(response, ...refused)
    const parameters = new URLSearchParams((request.url as string).slice(PATH.length))
    if (parameters.getAll('state').join('\n') !== options.state) {
      options.onStray()
      return send(response, 400, 'Not this login', 'This answer does not belong to the login that is under way. Use the link that the terminal shows last.')
    }
    if (taken !== undefined) return send(response, 410, 'Already answered', 'This login has had its answer. The terminal says how it ended.')
    taken = { parameters, response }
    told(parameters)
  })
  server.maxConnections = MOST_CONNECTIONS
  server.on('clientError', (_error, socket) => socket.destroy())
  const port = await listen(server, options.port)
  return {
    uri: `http://${HOST}:${port}${PATH}`,
    port,
    async answer (clock, timeoutMs, stop) {
      const over = new AbortController()
      const late = pause(clock, timeoutMs, AbortSignal.any([stop, over.signal])).then(() => undefined)
      const parameters = await Promise.race([answered, late])
      over.abort()
      if (stop.aborted) throw cancelled()
      if (parameters === undefined) throw new LoginError('nobody finished the login in time: run it again, with a longer --timeout if need be')
      return parameters
    },
    async show (title, text) {
      if (taken === undefined || taken.response.writableEnded || taken.response.destroyed) return
      const { response } = taken
      await new Promise<void>((resolve) => {
        response.on('close', resolve)
        send(response, 200, title, text)
      })
    },
    async close () {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** Why a request is not looked at. The host is checked since a page elsewhere can have a name of its own lead to this machine. */
function refusal (request: IncomingMessage, port: number): [status: number, title: string, text: string] | undefined {
  const names = [`${HOST}:${port}`, `localhost:${port}`]
  if (!names.includes(request.headers.host ?? '')) return [403, 'Wrong host', 'This listener answers to its own address only.']
  if (request.url !== PATH && !request.url?.startsWith(`${PATH}?`)) return [404, 'Nothing here', 'mcp-valet waits here for the end of a login.']
  if (request.method !== 'GET') return [405, 'Wrong method', 'mcp-valet waits here for a browser that is sent back by GET.']
  return undefined
}

function send (response: ServerResponse, status: number, title: string, text: string): void {
  response.writeHead(status, PAGE_HEADERS)
  response.end(page(title, text))
}

async function listen (server: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject)
    server.listen(port, HOST, resolve)
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') throw new LoginError(`port ${port} on ${HOST} is in use: stop what listens there, or give another to --redirect-port`)
    throw new LoginError(`${HOST}:${port} cannot be listened on (${error.code ?? 'unknown error'}): give another port to --redirect-port, or leave it out`)
  })
  return (server.address() as AddressInfo).port
}
