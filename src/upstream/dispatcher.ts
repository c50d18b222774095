import { Pool } from 'undici'
import type { Clock } from '../clock.js'
import type { UpstreamConfig } from '../config/config.js'
import { checkTlsMaterial } from '../config/tls-material.js'
import { ValetError } from '../errors.js'
import { asEvents } from '../mcp/unknown-tool.js'
import type { Emit } from '../telemetry/events.js'
import { faultOf } from '../telemetry/fault.js'
import { mayHideRefusal } from './beginning.js'
import { Delivery, type Call, type Way } from './deliver.js'
import { EndpointStage, endpointPath, type EndpointStreams } from './endpoint.js'
import { connector } from './connect.js'
import { failureOf, reasonOf } from './failure.js'
import { askingPlainly } from './headers.js'
import { inject, type CallOptions, type Dispatch } from './inject.js'
import { inPieces } from './pieces.js'
import { replay } from './replay.js'
import { Screen } from './screen.js'
import { connectOptions } from './tls.js'
import { traced } from './traced.js'

/** Bytes of the sidecar's own that an agent may leave unread on its stream. */
const MOST_UNREAD = 1024 * 1024

/** A reason of ours, or where a fault is; never a message, which may quote what an upstream sent. */
function causeOf (cause: unknown): string {
  return typeof cause === 'string' ? cause : faultOf(cause)
}

/** What is sent: below the origin of the upstream, the path with its query. */
export interface Outgoing { readonly method: string, readonly path: string, readonly body: Buffer | undefined }

/**
 * The way to one upstream: a connection pool of its own, so that no credential can reach another origin, with TLS
 * verified, and on it the replay and, inside that, the injection.
 */
export class UpstreamDispatcher {
  readonly #config: UpstreamConfig
  readonly #clock: Clock
  readonly #emit: Emit
  readonly #way: Way
  readonly #streams: EndpointStreams
  readonly #isCurrent: () => boolean
  #pool: Pool | undefined
  #dispatch: Dispatch | undefined

  /**
   * @param stall milliseconds that an agent may leave its end of the connection unread
   * @param streams where `tell` finds those that are open, and which may be another one's
   * @param isCurrent whether the config of the moment has this upstream at this origin; where not, no credential goes there
   */
  constructor (config: UpstreamConfig, clock: Clock, emit: Emit, stall: number, streams: EndpointStreams = new Map(), isCurrent = (): boolean => true) {
    this.#config = config
    this.#isCurrent = isCurrent
    this.#streams = streams
    this.#clock = clock
    this.#emit = emit
    this.#way = {
      clock,
      base: config.url,
      path: config.path,
      stall,
      onStream: (open) => emit({ event: open ? 'stream_opened' : 'stream_closed', upstream: config.name }),
      onBroken: (exchange, error) => {
        const { code, cause } = failureOf(error)
        exchange.code = code
        const reason = error instanceof ValetError ? causeOf(cause) : `the upstream broke off in the middle of its answer (${reasonOf(error)})`
        emit({ event: 'failed', ...exchange.context(), code, reason })
      },
    }
  }

  /** Makes the pool. Where its certificates cannot be used, calls fail, and each tries again. */
  async open (): Promise<Dispatch> {
    const { url, tls, timeouts } = this.#config
    const connect = await connectOptions(tls, timeouts.connectMs)
    checkTlsMaterial(tls, connect)
    if (this.#dispatch !== undefined) return this.#dispatch
    this.#pool = new Pool(url.origin, {
      connect: connector(connect),
      // A stream holds its connection for as long as it lives, so a limit here would let streams starve calls.
      connections: null,
      pipelining: 1,
      headersTimeout: timeouts.headersMs,
      bodyTimeout: timeouts.idleMs,
    })
    this.#dispatch = this.#pool.compose(traced(url), inject(this.#config.headers, this.#isCurrent), replay(this.#config, this.#clock, this.#emit)).dispatch
    return this.#dispatch
  }

  /**
   * Sends a call and writes the answer straight to the agent's connection.
   * @param onFailure there will be no answer, and nothing has gone to the agent
   */
  send (outgoing: Outgoing, call: Call, onFailure: (error: ValetError) => void): void {
    if (this.#dispatch !== undefined) return this.#sendBy(this.#dispatch, outgoing, call, onFailure)
    this.open()
      .then((dispatch) => this.#sendBy(dispatch, outgoing, call, onFailure))
      .catch((error: unknown) => onFailure(error instanceof ValetError ? error : new ValetError('ERR_UPSTREAM_UNREACHABLE', { cause: reasonOf(error) })))
  }

  #sendBy (dispatch: Dispatch, { method, path, body }: Outgoing, call: Call, onFailure: (error: ValetError) => void): void {
    const { exchange } = call
    const { policy } = exchange
    const delivery = new Delivery(this.#way, call, (error) => onFailure(failureOf(error)))
    const pieces = body === undefined ? undefined : inPieces(body)
    const listens = method === 'GET'
    const mustRead = policy !== undefined || listens || mayHideRefusal(exchange, this.#config.refreshOnAnswer)
    const own = mustRead ? askingPlainly(call.headers) : call.headers
    const headers = body === undefined || pieces === body ? own : [...own, 'content-length', String(body.length)]
    const screened = policy === undefined ? delivery : new Screen(delivery, exchange, policy, this.#clock)
    dispatch({ path, method, headers, body: pieces, exchange } as CallOptions, listens ? this.#listening(path, call, screened) : screened)
  }

  #listening (path: string, { raw, bindEndpoint }: Call, next: Delivery | Screen): EndpointStage {
    const from = new URL(path, this.#config.url)
    return new EndpointStage(next, {
      rewrite: (endpoint) => bindEndpoint(endpointPath(endpoint, from)),
      streams: this.#streams,
      isRead: () => raw.writableLength < MOST_UNREAD,
    })
  }

  /**
   * Sends messages to an agent of MCP 2024-11-05 on the stream where it expects them.
   * @param endpoint where it POSTs to
   * @returns whether that stream is open here
   */
  tell (endpoint: string, messages: readonly string[]): boolean {
    return this.#streams.get(endpoint)?.say(Buffer.from(asEvents(messages))) ?? false
  }

  /** Cuts off whatever is under way: the listener has waited for that already. */
  async destroy (): Promise<void> {
    await this.#pool?.destroy()
  }
}
