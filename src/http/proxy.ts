import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { UpstreamConfig } from '../config/config.js'
import { acquire } from '../credential/acquire.js'
import { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'
import { summarize } from '../mcp/message.js'
import { UpstreamDispatcher } from '../upstream/dispatcher.js'
import { reasonOf } from '../upstream/failure.js'
import { requestHeaderFilter } from '../upstream/headers.js'
import { admit } from './admit.js'
import { bodyReader } from './body.js'
import { answered, fail } from './conclude.js'
import { asValetError } from './reply-error.js'
import type { RouteOptions } from './options.js'
import { boundEndpoint, openBound } from './session-gate.js'
import { passTools } from './tool-gate.js'
import { inTurn } from './turn.js'

/**
 * The way of a call to one upstream and back, as a plugin of its own, in the order in which a call passes:
 * admit → read the body → open its MCP session → find the credential → send.
 */
export async function upstreamRoutes (app: FastifyInstance, options: RouteOptions): Promise<void> {
  const { upstream, emit } = options
  const dispatcher = new UpstreamDispatcher(upstream, options.clock, emit, options.limits.stall, options.streams)
  dispatcher.open().catch((error: unknown) => {
    emit({ event: 'warning', reason: `upstream ${upstream.name} cannot be called: ${reasonOf(error)}` })
  })
  app.addHook('onClose', async () => await dispatcher.destroy())
  app.addHook('onRequest', admit(options))
  app.removeAllContentTypeParsers()
  // JSON is named since Fastify remembers who reads a type by its name alone; for any other it takes the header apart.
  app.addContentTypeParser(['application/json', '*'], bodyReader(upstream.bodyLimit))

  const forward = forwarder(options, dispatcher)
  await app.register(httpProxy, {
    upstream: upstream.url.origin,
    prefix: upstream.path,
    rewritePrefix: upstream.url.pathname,
    httpMethods: ['POST', 'GET', 'DELETE'],
    proxyPayloads: false,
    disableRequestLogging: true,
    // To find a destination the library parses three URLs. The bare path's, which nearly every call asks for, is known: the
    // upstream's URL to the letter, a trailing slash included, as some servers insist on one.
    preHandler: (request, reply, done) => request.raw.url === upstream.path ? forward(request, reply, upstream.url.pathname) : done(),
    handler: forward,
  })
}

type Handler = (request: FastifyRequest, reply: FastifyReply, destination: string) => void

/**
 * What the library does with a call once it has found its destination, in place of its own `reply.from`: that copies the
 * caller's headers twice, and each answer through a stream of its own, for a tenth of what a call costs in all.
 */
function forwarder (options: RouteOptions, dispatcher: UpstreamDispatcher): Handler {
  const { config, credentialFor, policyFor, binding, clock, emit, upstream } = options
  const filter = requestHeaderFilter(config.callers.header, upstream.headers.keys())

  return (request, reply, destination) => inTurn(reply.raw, () => {
    const exchange = request.exchange as Exchange
    if (exchange.gone) return
    const bytes = request.body as Buffer | undefined
    let body = bytes
    // What a GET brings is not passed on, but left unread it would keep Node from noticing that the agent leaves.
    if (body === undefined) request.raw.resume()
    exchange.receiving = clock.elapsed() - exchange.admittedAt
    const { caller } = exchange
    const url = request.raw.url as string
    const opened = openBound(exchange, request.raw, upstream.path, binding)
    const policy = exchange.policy = policyFor(caller, upstream)
    if (policy === undefined || opened === undefined) exchange.readRpcWhenAsked(() => summarize(bytes))
    if (opened === undefined) return fail(exchange, reply, new ValetError('ERR_SESSION_MISMATCH'), options)
    const { session, target = targetOf(url, destination, upstream) } = opened
    if (policy !== undefined) {
      const tell = opened.target === undefined ? undefined : (messages: readonly string[]) => dispatcher.tell(url, messages)
      const passed = passTools(exchange, policy, request, reply, options, tell)
      if (passed === undefined) return
      body = passed.body
    }
    if (caller === undefined) {
      if (exchange.authority === 'anonymous') emit({ event: 'anonymous', ...exchange.context(), reason: 'no_principal' })
      return send()
    }
    const source = credentialFor(caller, upstream.name)
    if (source === undefined) return fail(exchange, reply, new ValetError('ERR_CREDENTIAL_MISSING'), options)
    exchange.source = source
    exchange.credential = source.current()
    if (exchange.credential !== undefined) return send()
    acquire(exchange, source, upstream, clock, emit).then(send).catch((error: unknown) => fail(exchange, reply, asValetError(error), options))

    function send (): void {
      if (exchange.gone) return
      const { rawHeaders, headers: { connection } } = request.raw
      const headers = filter(rawHeaders, connection, exchange.authority === 'relay')
      if (session.own !== undefined) headers.push('mcp-session-id', session.own)
      dispatcher.send({ method: request.method, path: target, body }, {
        exchange,
        raw: reply.raw,
        headers,
        session,
        bindEndpoint: (own) => boundEndpoint(exchange, own, upstream.path, binding),
        onHead: () => { reply.hijack() },
        onAnswered: () => answered(exchange, options),
      }, (error) => fail(exchange, reply, error, options))
    }
  })
}

/** The path at the upstream, with the caller's query; that of the bare path is the upstream's own, to the letter. */
function targetOf (url: string, destination: string, { path, url: { pathname } }: UpstreamConfig): string {
  const query = url.indexOf('?')
  if (query < 0) return destination
  return (query === path.length ? pathname : destination) + url.slice(query)
}
