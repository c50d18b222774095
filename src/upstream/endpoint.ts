import type { Dispatcher } from 'undici'
import { ValetError } from '../errors.js'
import { EndpointEvent } from '../mcp/endpoint-event.js'
import { isEventStream, unframed, type Headers } from './readable.js'

type Controller = Dispatcher.DispatchController

/** What an answer goes on to. */
export interface Downstream {
  onResponseStart (controller: Controller, status: number, headers: Headers): void
  onResponseData (controller: Controller, chunk: Buffer): void
  onResponseEnd (controller: Controller): void
  onResponseError (controller: Controller, error: Error): void
}

/**
 * Stands before the delivery of an answer to a GET: where that is the stream of MCP 2024-11-05 (HTTP+SSE), the place for
 * POSTs that the server names in it becomes one behind the sidecar.
 */
export class EndpointStage implements Dispatcher.DispatchHandler {
  readonly #next: Downstream
  readonly #rewrite: (endpoint: string) => string
  #event: EndpointEvent | undefined
  #refused = false

  constructor (next: Downstream, rewrite: (endpoint: string) => string) {
    this.#next = next
    this.#rewrite = rewrite
  }

  onRequestStart (): void {}

  onResponseStart (controller: Controller, status: number, headers: Headers): void {
    if (!isEventStream(headers)) return this.#next.onResponseStart(controller, status, headers)
    this.#event = new EndpointEvent(this.#rewrite)
    this.#next.onResponseStart(controller, status, unframed(headers))
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    if (this.#refused) return
    try {
      this.#pass(controller, this.#event === undefined ? chunk : this.#event.write(chunk))
    } catch (error) {
      this.#refused = true
      this.#next.onResponseError(controller, error instanceof ValetError ? error : new ValetError('ERR_INTERNAL', { cause: error }))
      controller.abort(error as Error)
    }
  }

  onResponseEnd (controller: Controller): void {
    if (this.#refused) return
    if (this.#event !== undefined) this.#pass(controller, this.#event.end())
    this.#next.onResponseEnd(controller)
  }

  onResponseError (controller: Controller, error: Error): void {
    if (!this.#refused) this.#next.onResponseError(controller, error)
  }

  #pass (controller: Controller, bytes: Buffer): void {
    if (bytes.length > 0) this.#next.onResponseData(controller, bytes)
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
  if (url.origin !== from.origin) throw new ValetError('ERR_UPSTREAM_INVALID', { cause: 'the endpoint event of its stream names another origin than the url of this upstream' })
  return url.pathname + url.search
}
