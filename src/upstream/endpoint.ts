import type { Dispatcher } from 'undici'
import { ValetError } from '../errors.js'
import { EndpointEvent, LateEndpoint } from '../mcp/endpoint-event.js'
import { isCompressed, saysEventStream, unframed, type Headers } from './readable.js'

type Controller = Dispatcher.DispatchController

/** What an answer goes on to. */
export interface Downstream {
  onResponseStart (controller: Controller, status: number, headers: Headers): void
  onResponseData (controller: Controller, chunk: Buffer): void
  onResponseEnd (controller: Controller): void
  onResponseError (controller: Controller, error: Error): void
}

/** Answers that wait for the end of an event of the server's: for an honest one that is the next packet. */
const MOST_WAITING = 64
const BETWEEN_EVENTS = /(?:\n\n|\r\r|\n\r\n)$/

/** The streams of MCP 2024-11-05 that are open here, by where their agents POST to. */
export type EndpointStreams = Map<string, EndpointStage>

export interface EndpointOptions {
  /** From the URL that a server names to the path at which its agent reaches it. */
  readonly rewrite: (endpoint: string) => string
  readonly streams: EndpointStreams
  /** Whether the agent reads what it is sent. */
  readonly isRead: () => boolean
}

/**
 * Stands before the delivery of an answer to a GET: where that is the stream of MCP 2024-11-05 (HTTP+SSE), the place for
 * POSTs that the server names in it becomes one behind the sidecar. By then the agent expects all answers on this stream,
 * so those of the sidecar go there too.
 */
export class EndpointStage implements Dispatcher.DispatchHandler {
  readonly #next: Downstream
  readonly #options: EndpointOptions
  #event: EndpointEvent | undefined
  #controller: Controller | undefined
  /** Under which it is among the open streams. */
  #name: string | undefined
  #refused = false
  /** The last of what has passed, to know whether an event has ended there. */
  #tail = ''
  #waiting: Buffer[] = []

  constructor (next: Downstream, options: EndpointOptions) {
    this.#next = next
    this.#options = options
  }

  /** Puts events of the sidecar's own between those of the server. @returns whether that can be done */
  say (events: Buffer): boolean {
    if (this.#waiting.length >= MOST_WAITING || !this.#options.isRead()) return false
    this.#waiting.push(events)
    this.#flush()
    return true
  }

  onRequestStart (): void {}

  onResponseStart (controller: Controller, status: number, headers: Headers): void {
    if (!saysEventStream(headers)) return this.#next.onResponseStart(controller, status, headers)
    if (isCompressed(headers)) return this.#refuse(controller, new ValetError('ERR_UPSTREAM_INVALID', { cause: 'a stream that may name where to POST to is compressed, although that was not asked for' }))
    this.#controller = controller
    this.#event = new EndpointEvent((endpoint) => {
      this.#name = this.#options.rewrite(endpoint)
      this.#options.streams.set(this.#name, this)
      return this.#name
    })
    this.#next.onResponseStart(controller, status, unframed(headers))
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    if (this.#refused) return
    try {
      this.#pass(controller, this.#event === undefined ? chunk : this.#event.write(chunk))
    } catch (error) {
      if (error instanceof ValetError) this.#refuse(controller, error)
      else if (error instanceof LateEndpoint) this.#refuse(controller, new ValetError('ERR_UPSTREAM_INVALID', { cause: 'an endpoint event of its stream is not the first event, or is too long' }))
      else this.#refuse(controller, new ValetError('ERR_INTERNAL', { cause: error }))
    }
  }

  onResponseEnd (controller: Controller): void {
    if (this.#refused) return
    this.#close()
    if (this.#event !== undefined) this.#pass(controller, this.#event.end())
    this.#next.onResponseEnd(controller)
  }

  onResponseError (controller: Controller, error: Error): void {
    this.#close()
    if (!this.#refused) this.#next.onResponseError(controller, error)
  }

  #pass (controller: Controller, bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#next.onResponseData(controller, bytes)
    if (this.#name === undefined) return
    this.#tail = (this.#tail + bytes.toString('latin1', Math.max(0, bytes.length - 3))).slice(-3)
    this.#flush()
  }

  #flush (): void {
    if (!BETWEEN_EVENTS.test(this.#tail)) return
    for (const events of this.#waiting.splice(0)) this.#next.onResponseData(this.#controller as Controller, events)
  }

  #refuse (controller: Controller, error: ValetError): void {
    this.#refused = true
    this.#close()
    this.#next.onResponseError(controller, error)
    controller.abort(error)
  }

  #close (): void {
    if (this.#name !== undefined) this.#options.streams.delete(this.#name)
  }
}

/**
 * The path at the upstream that an `endpoint` event names, with its query.
 * @param from the URL that the stream came from, which a relative endpoint starts from
 * @throws {ValetError} where it is at another origin: an agent that went there would take its session key along
 */
export function endpointPath (endpoint: string, from: URL): string {
  let url: URL
  try {
    url = new URL(endpoint, from)
  } catch {
    throw new ValetError('ERR_UPSTREAM_INVALID', { cause: 'the endpoint event of its stream names no URL' })
  }
  // The origin of a `blob:` URL is that of the one in it.
  if (url.origin !== from.origin || url.protocol !== from.protocol) throw new ValetError('ERR_UPSTREAM_INVALID', { cause: 'the endpoint event of its stream names another origin than the url of this upstream' })
  return url.pathname + url.search
}
