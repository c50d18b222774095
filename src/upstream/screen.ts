import type { Dispatcher } from 'undici'
import type { Clock } from '../clock.js'
import { ValetError } from '../errors.js'
import type { Exchange, ToolPolicy } from '../exchange.js'
import { EventStream, TooLong } from '../mcp/event-stream.js'
import { JsonError } from '../mcp/json-reader.js'
import { withoutHidden } from '../mcp/tool-list.js'
import { asEvents, withMessages } from '../mcp/unknown-tool.js'
import { ByteCollector } from './byte-collector.js'
import type { Delivery } from './deliver.js'
import { beginsAsJson, isEventStream, isJson, unframed, unreadable, type Headers } from './readable.js'

type Controller = Dispatcher.DispatchController

/** Bytes of an answer in JSON, or of one event of a stream, that are kept until they can be read: 16 MiB. */
export const LONGEST_READ = 16 * 1024 * 1024

/** How an answer goes on. */
type Way =
  /** as it comes: it is not such that a client would read a list in it */
  | { readonly kind: 'plain' }
  /** event by event */
  | { readonly kind: 'events', readonly stream: EventStream }
  /** once it has been read whole */
  | Whole
  /** not at all */
  | { readonly kind: 'refused' }

interface Whole {
  readonly kind: 'whole'
  readonly status: number
  readonly headers: Headers
  /** That it must be read whole is certain; otherwise its first bytes will tell. */
  certain: boolean
  /** Monotonic milliseconds at which its head had come. */
  readonly since: number
}

/**
 * Stands before the delivery of an answer to a caller who may not see every tool, and takes out of it those that it may
 * not see; also adds the answers that this caller is owed by the sidecar. Whoever may see everything has none of this.
 */
export class Screen implements Dispatcher.DispatchHandler {
  readonly #delivery: Delivery
  readonly #exchange: Exchange
  readonly #clock: Clock
  readonly #rewrite: (text: Buffer) => Buffer
  #way: Way = { kind: 'plain' }
  #kept = new ByteCollector()

  constructor (delivery: Delivery, exchange: Exchange, policy: ToolPolicy, clock: Clock) {
    this.#delivery = delivery
    this.#exchange = exchange
    this.#clock = clock
    const allows = (tool: string): boolean => policy.allows(tool)
    this.#rewrite = (text) => withoutHidden(text, allows)
  }

  onRequestStart (): void {}

  onResponseStart (controller: Controller, status: number, headers: Headers): void {
    const reason = unreadable(status, headers)
    if (reason !== undefined) return this.#refuse(controller, reason)
    if (!isEventStream(headers)) {
      this.#way = { kind: 'whole', status, headers, certain: isJson(headers), since: this.#clock.elapsed() }
      return
    }
    const { owed } = this.#exchange
    this.#way = { kind: 'events', stream: new EventStream(this.#rewrite, LONGEST_READ, owed.length > 0) }
    this.#delivery.onResponseStart(controller, status, unframed(headers))
    if (owed.length > 0) this.#delivery.onResponseData(controller, Buffer.from(asEvents(owed)))
  }

  onResponseData (controller: Controller, chunk: Buffer): void {
    this.#guarded(controller, () => {
      const way = this.#way
      if (way.kind === 'plain') this.#delivery.onResponseData(controller, chunk)
      else if (way.kind === 'events') {
        const seen = way.stream.write(chunk)
        this.#exchange.share?.hold('answer', way.stream.waiting)
        this.#pass(controller, seen)
      } else if (way.kind === 'whole') this.#keep(controller, way, chunk)
    })
  }

  onResponseEnd (controller: Controller): void {
    this.#guarded(controller, () => {
      const way = this.#way
      if (way.kind === 'refused') return
      if (way.kind === 'events') this.#pass(controller, way.stream.end())
      if (way.kind === 'whole') this.#deliver(controller, way)
      this.#delivery.onResponseEnd()
    })
  }

  onResponseError (controller: Controller, error: Error): void {
    if (this.#way.kind !== 'refused') this.#delivery.onResponseError(controller, error)
  }

  #keep (controller: Controller, way: Whole, chunk: Buffer): void {
    if (this.#kept.length + chunk.length > LONGEST_READ) throw new TooLong()
    this.#exchange.share?.hold('answer', this.#kept.length + chunk.length)
    this.#kept.add(chunk)
    if (way.certain) return
    const json = beginsAsJson(chunk)
    if (json === undefined) return
    if (json) {
      way.certain = true
      return
    }
    this.#way = { kind: 'plain' }
    this.#delivery.onResponseStart(controller, way.status, way.headers)
    for (const piece of this.#take().pieces()) this.#delivery.onResponseData(controller, piece)
  }

  /** All of an answer is there: what of it may be seen goes out at once, with a length of its own. */
  #deliver (controller: Controller, { status, headers, since }: Whole): void {
    this.#exchange.holding += this.#clock.elapsed() - since
    const { owed } = this.#exchange
    const text = this.#take().whole()
    const seen = this.#rewrite(text)
    const body = owed.length > 0 && status < 300 && (text.length === 0 || isJson(headers)) ? withMessages(seen, owed) : seen
    if (body === text) this.#delivery.onResponseStart(controller, status, headers)
    else {
      // What was an acknowledgement without a body is an answer now.
      const type = text.length === 0 ? { 'content-type': 'application/json' } : {}
      this.#delivery.onResponseStart(controller, text.length === 0 ? 200 : status, { ...unframed(headers), ...type, 'content-length': String(body.length) })
    }
    this.#pass(controller, body)
  }

  #pass (controller: Controller, bytes: Buffer): void {
    if (bytes.length > 0) this.#delivery.onResponseData(controller, bytes)
  }

  #take (): ByteCollector {
    const kept = this.#kept
    this.#kept = new ByteCollector()
    return kept
  }

  /** What cannot be read is not let by unread. */
  #guarded (controller: Controller, step: () => void): void {
    try {
      step()
    } catch (error) {
      if (error instanceof TooLong) this.#refuse(controller, `an event or an answer that a tool policy must read is longer than ${LONGEST_READ >> 20} MiB`)
      else if (error instanceof JsonError) this.#refuse(controller, 'an answer that a tool policy must read is not JSON')
      else this.#fail(controller, error instanceof ValetError ? error : new ValetError('ERR_INTERNAL', { cause: error }))
    }
  }

  #refuse (controller: Controller, reason: string): void {
    this.#fail(controller, new ValetError('ERR_UPSTREAM_INVALID', { cause: reason }))
  }

  #fail (controller: Controller, error: ValetError): void {
    this.#way = { kind: 'refused' }
    this.#take()
    this.#delivery.onResponseError(controller, error)
    controller.abort(error)
  }
}
