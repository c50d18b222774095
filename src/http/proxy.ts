import httpProxy from '@fastify/http-proxy'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { UpstreamConfig } from '../config/config.js'
import { acquire } from '../credential/acquire.js'
import { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'
import { summarize } from '../mcp/message.js'
import { admit } from './admit.js'
import { readBody } from './body.js'
import { answered, fail } from './conclude.js'
import type { Share } from '../room.js'
import { asValetError } from './reply-error.js'
import type { ProxyOptions } from './options.js'
import type { Route } from './routing.js'
import { boundEndpoint, openBound } from './session-gate.js'
import { passTools } from './tool-gate.js'
import { inTurn } from './turn.js'

/** Where the library would send calls, if it sent them: each goes to the upstream of its route. */
const NOWHERE = 'http://upstream.invalid'

/**
 * The way of a call to its upstream and back, as a plugin of its own, in the order in which a call passes:
 * admit → read the body → open its MCP session → find the credential → send.
 */
export async function proxy (app: FastifyInstance, options: ProxyOptions): Promise<void> {
  app.addHook('onRequest', admit(options))
  // Bodies are read here, and not as what their types say.
  for (const method of ['POST', 'DELETE']) app.addHttpMethod(method, { hasBody: false, overrideExisting: true })
  const forward = taker(options)
  await app.register(httpProxy, {
    upstream: NOWHERE,
    httpMethods: ['POST', 'GET', 'DELETE'],
    proxyPayloads: false,
    disableRequestLogging: true,
    // To judge a destination the library parses three URLs. Nearly every call asks for an upstream's bare path, which is one.
    preHandler: (request, reply, done) => request.raw.url === request.route?.upstream.path ? forward(request, reply) : done(),
    handler: forward,
  })
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => void

function taker (options: ProxyOptions): Handler {
  const forward = forwarder(options)
  return (request, reply) => {
    const exchange = request.exchange as Exchange
    readBody(request.raw, (request.route as Route).upstream.bodyLimit, exchange.share as Share, (error, body) => inTurn(reply.raw, () => {
      try {
        if (error === undefined && !exchange.gone) forward(request, reply, body)
        // What is left of a body that is not wanted would be read as the next request.
        if (error !== undefined) fail(exchange, reply.header('connection', 'close'), error, options)
      } catch (thrown) {
        fail(exchange, reply, asValetError(thrown), options)
      }
    }))
  }
}

/**
 * What the library does with a call once it has found its destination, in place of its own `reply.from`: that copies the
 * caller's headers twice, and each answer through a stream of its own, for a tenth of what a call costs in all.
 */
function forwarder (options: ProxyOptions): (request: FastifyRequest, reply: FastifyReply, bytes: Buffer | undefined) => void {
  const { policyFor, binding, clock, emit, calls } = options

  return (request, reply, bytes) => {
    const { upstream, dispatcher, filter, credentialFor } = request.route as Route
    const exchange = request.exchange as Exchange
    let body = bytes
    exchange.receiving = clock.elapsed() - exchange.admittedAt
    const { caller } = exchange
    const url = request.raw.url as string
    const opened = openBound(exchange, request.raw, upstream.path, binding)
    const policy = exchange.policy = policyFor(caller, upstream)
    if (request.method === 'GET') calls.keepRules(exchange, upstream)
    if (policy === undefined || opened === undefined) exchange.readRpcWhenAsked(() => summarize(bytes))
    if (opened === undefined) return fail(exchange, reply, new ValetError('ERR_SESSION_MISMATCH'), options)
    const { session, target = targetOf(url, upstream) } = opened
    if (policy !== undefined) {
      const tell = opened.target === undefined ? undefined : (messages: readonly string[]) => dispatcher.tell(url, messages)
      const passed = passTools(exchange, policy, { raw: request.raw, bytes }, reply, options, tell)
      if (passed === undefined) return
      body = passed.body
    }
    if (caller === undefined) {
      if (exchange.authority === 'anonymous') emit({ event: 'anonymous', ...exchange.context(), reason: 'no_principal' })
      return send()
    }
    const source = credentialFor(caller)
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
  }
}

/**
 * The path at the upstream, with the caller's query. That of the bare path is the upstream's own to the letter, a trailing
 * slash included, as some servers insist on one.
 */
function targetOf (url: string, { path, url: { pathname } }: UpstreamConfig): string {
  const below = url.slice(path.length)
  return (below.startsWith('/') && pathname.endsWith('/') ? pathname.slice(0, -1) : pathname) + below
}
