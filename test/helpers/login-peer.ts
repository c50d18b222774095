import type { Test } from 'tap'
import { mintToken } from './mint.js'
import { startUpstream, type Answer, type Seen, type TestUpstream } from './upstream.js'

export interface LoginPeer extends TestUpstream {
  /** Of the MCP server that it is as well. */
  readonly mcp: string
  readonly tokens: { readonly access: string, readonly refresh: string, readonly code: string }
  /** What it has been asked at this path. */
  at (path: string): Seen[]
}

/** What a path answers: JSON with 200, or whatever is written. */
export type Reply = object | Answer

/**
 * An upstream and an authorization server in one, which say what a test has them say: for what no honest server says.
 * @param replies by path, in place of or beside the usual ones; given the origin
 */
export async function startLoginPeer (t: Test, replies: (origin: string, tokens: LoginPeer['tokens']) => Readonly<Record<string, Reply>> = () => ({})): Promise<LoginPeer> {
  const tokens = { access: mintToken('at'), refresh: mintToken('rt'), code: mintToken('code') }
  const upstream: TestUpstream = await startUpstream(t, (seen, response, request) => {
    const path = seen.url.split('?')[0] as string
    const reply = ({ ...usual(upstream.origin, tokens), ...replies(upstream.origin, tokens) } as Record<string, Reply>)[path]
    if (reply === undefined) return answer(404, {})(seen, response, request)
    return (typeof reply === 'function' ? reply as Answer : answer(200, reply))(seen, response, request)
  })
  return {
    ...upstream,
    mcp: `${upstream.origin}/mcp`,
    tokens,
    at: (path) => upstream.seen.filter(({ url }) => url.split('?')[0] === path),
  }
}

export const RESOURCE_PATH = '/.well-known/oauth-protected-resource/mcp'
export const ISSUER_PATH = '/.well-known/oauth-authorization-server'

/** The metadata of an authorization server that does everything right. */
export function serverMetadata (origin: string): Record<string, unknown> {
  return {
    issuer: origin,
    authorization_endpoint: `${origin}/authorize`,
    token_endpoint: `${origin}/token`,
    registration_endpoint: `${origin}/register`,
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
  }
}

function usual (origin: string, { access, refresh }: LoginPeer['tokens']): Record<string, Reply> {
  return {
    '/mcp': challenge(`resource_metadata="${origin}${RESOURCE_PATH}"`),
    [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [origin] },
    [ISSUER_PATH]: serverMetadata(origin),
    '/register': answer(201, { client_id: 'registered' }),
    '/token': { access_token: access, token_type: 'Bearer', expires_in: 600, refresh_token: refresh },
  }
}

export function challenge (parameters: string): Answer {
  return answer(401, {}, { 'www-authenticate': `Bearer ${parameters}` })
}

export function answer (status: number, body: object | string, headers: Record<string, string> = {}): Answer {
  return (_seen, response) => {
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }
}
