import { lookup } from 'node:dns/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect, Server as NetServer, type AddressInfo, type ListenOptions } from 'node:net'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import type { Listen } from '../config/config.js'
import type { Limits } from './server.js'

type ClientErrorHandler = NonNullable<FastifyServerOptions['clientErrorHandler']>

/** What listens, with an application behind it that answers. */
export class Listener {
  readonly #limits: Limits
  readonly #onClientError: ClientErrorHandler
  readonly #servers: Server[] = []
  /** No further request is wanted on the connections that there are. */
  #leaving = false

  /** @param onClientError answers what never becomes a request */
  constructor (limits: Limits, onClientError: ClientErrorHandler) {
    this.#limits = limits
    this.#onClientError = onClientError
  }

  /** Listens and gives the address back as a URL; for a socket, as `unix:/path.sock`. */
  async listen (where: Listen, app: FastifyInstance): Promise<string> {
    await app.ready()
    const bind = async (options: ListenOptions): Promise<Server> => await this.#bind(options, app)
    if ('socket' in where) {
      await removeStaleSocket(where.socket)
      await bind({ path: where.socket })
      await chmod(where.socket, 0o600)
      return `unix:${where.socket}`
    }
    // Two addresses for most people, and clients differ on which they try first.
    const [host = where.host, ...others] = where.host === 'localhost' ? await addressesOf(where.host) : [where.host]
    const { port } = (await bind({ host, port: where.port })).address() as AddressInfo
    for (const other of others) await bind({ host: other, port }).catch(() => {})
    return `http://${shown(host)}:${port}`
  }

  /** Takes no new connections; those that there are may bring a last request each, so that none is lost on its way. */
  stopAccepting (): void {
    this.#leaving = true
    // Not as http.Server does it, which closes idle connections at once, whatever is on its way on them.
    for (const server of this.#servers) NetServer.prototype.close.call(server)
  }

  /** Whether anybody is connected. */
  get connected (): Promise<boolean> {
    const counts = this.#servers.map(async (server) => await new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count ?? 0))))
    return Promise.all(counts).then((all) => all.some((count) => count > 0))
  }

  /** Ends what is left, by force: to Node a connection on which nothing was ever sent is active, not idle. */
  close (): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }

  async #bind (where: ListenOptions, app: FastifyInstance): Promise<Server> {
    const { headers, request, check, connections } = this.#limits
    const take = (request: IncomingMessage, response: ServerResponse): void => this.#take(request, response, app)
    const server = createServer({
      headersTimeout: headers, requestTimeout: request, connectionsCheckingInterval: check, keepAliveTimeout: 75_000, requireHostHeader: true, insecureHTTPParser: false,
    }, take)
    // Node would drop headers from the 2001st on, a Content-Length among them; a head is bounded in bytes (16 KiB) anyway.
    server.maxHeadersCount = 0
    server.maxConnections = connections
    server.on('clientError', this.#onClientError)
    // Whatever else is expected than 100-continue: a server may go on as if it were not (RFC 9110 §10.1.1).
    server.on('checkExpectation', take)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(where, () => {
        server.off('error', reject)
        resolve()
      })
    })
    this.#servers.push(server)
    return server
  }

  #take (request: IncomingMessage, response: ServerResponse, app: FastifyInstance): void {
    // Behind an answer that closes the connection nothing may be begun any more (RFC 9112 §9.6).
    if (request.socket.writableEnded) return
    if (this.#leaving) response.shouldKeepAlive = false
    app.routing(request, response)
  }
}

async function addressesOf (host: string): Promise<string[]> {
  const found = await lookup(host, { all: true }).catch(() => [])
  return [...new Set(found.map(({ address }) => address))]
}

/** An address that one can call: what listens everywhere is told by its loopback name. */
function shown (host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

/** A process that was killed leaves its socket behind; one that somebody still answers on is not touched, nor is a file. */
async function removeStaleSocket (path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSocket() !== true) return
  const refused = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => { probe.destroy(); resolve(false) })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (refused) await unlink(path)
}
