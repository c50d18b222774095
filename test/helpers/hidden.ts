import type { Test } from 'tap'
import type { IssuerOptions } from '../../src/demo/issuer.js'
import { startRotating, type Rotating } from './peers.js'
import type { StartOptions } from './sidecar.js'
import { bearerOf } from './tokens.js'
import { startUpstream, type Answer, type TestUpstream } from './upstream.js'

export const PATTERNS = 'refresh_on_answer: [{ error: { code: -32001 } }, { error: { data: { reason: token_expired } } }, { result: { structuredContent: { error: { code: TOKEN_EXPIRED } } } }]'

/** Answers with status 200 that hide a refusal, by what hides it; `id` is as JSON. */
export const REFUSALS: Readonly<Record<string, (id: string) => string>> = {
  'an error': (id) => `{"jsonrpc":"2.0","id":${id},"error":{"code":-32001,"message":"Session token is stale"}}`,
  'an error without an id': () => '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"no"}}',
  'the data of an error': (id) => `{"jsonrpc":"2.0","id":${id},"error":{"code":-32000,"message":"no","data":{"reason":"token_expired","at":1}}}`,
  'the result of a tool': (id) => `{"jsonrpc":"2.0","id":${id},"result":{"isError":true,"content":[{"type":"text","text":"Sorry"}],"structuredContent":{"error":{"code":"TOKEN_EXPIRED"}}}}`,
}

export const refusal = (id: string | number = 1): string => (REFUSALS['an error'] as (id: string) => string)(JSON.stringify(id))
export const result = (id: string | number = 1): string => JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'done' }] } })

/** A JSON body or one event, whichever is asked for. */
export function send (as: 'json' | 'sse', text: string): Answer {
  return (_seen, response) => {
    response.writeHead(200, { 'content-type': as === 'json' ? 'application/json' : 'text/event-stream' })
    response.end(as === 'json' ? text : `event: message\nid: 1\ndata: ${text}\n\n`)
  }
}

export interface Hidden extends Rotating {
  readonly upstream: TestUpstream
  /** Access tokens that the upstream takes no more. */
  readonly stale: Set<string>
  /** Token requests so far. */
  readonly renewals: () => number
}

/** A sidecar that knows `PATTERNS`, with a rotating token, before an upstream that answers a stale one as `refused` says. */
export async function startHidden (t: Test, refused: Answer, accepted: Answer = send('json', result()), options: { upstream?: string, issuer?: Partial<IssuerOptions>, sidecar?: StartOptions } = {}): Promise<Hidden> {
  const stale = new Set<string>()
  let renewals = 0
  const upstream = await startUpstream(t, (seen, response, request) => (stale.has(bearerOf(seen) as string) ? refused : accepted)(seen, response, request))
  const { onTokenRequest, ...issuer } = options.issuer ?? {}
  const rotating = await startRotating(t, upstream.origin, {
    ...options,
    upstream: [PATTERNS, options.upstream].filter((text) => text !== undefined).join(', '),
    issuer: {
      ...issuer,
      onTokenRequest: async (params, next) => {
        renewals++
        return onTokenRequest === undefined ? await next() : await onTokenRequest(params, next)
      },
    },
  })
  stale.add(rotating.first)
  return { ...rotating, upstream, stale, renewals: () => renewals }
}
