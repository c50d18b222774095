import type { IncomingMessage, ServerResponse } from 'node:http'

const METHODS = 'POST, GET, DELETE'
const EXPOSED = 'Mcp-Session-Id, Mcp-Protocol-Version, Retry-After'
/** What an MCP client in a browser sends; names that begin with `mcp-` and the header of the session key beside them. */
const ALLOWED = new Set(['accept', 'authorization', 'content-type', 'last-event-id'])
/** Seconds for which a browser need not ask again. */
const MAX_AGE = '600'

/**
 * Tells a browser that a page may call (Fetch standard, §3.2 CORS protocol). Only for requests that the guard has let
 * through, so an `Origin` that is there is a listed one. Set on the raw response, where an answer that is written
 * straight to the connection takes them up as well.
 *
 * Credentials mode stays off: the session key is a header that the page itself sends, and a cookie means nothing here.
 * @param keyHeader the header of the session key, in lower case
 * @returns whether this is a preflight, which wants a 204 and nothing else
 */
export function allowOrigin (request: IncomingMessage, response: ServerResponse, keyHeader: string): boolean {
  const { origin, 'access-control-request-method': preflight } = request.headers
  if (origin === undefined) return false
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('vary', 'Origin')
  if (request.method !== 'OPTIONS' || preflight === undefined) {
    response.setHeader('access-control-expose-headers', EXPOSED)
    return false
  }
  response.setHeader('access-control-allow-methods', METHODS)
  response.setHeader('access-control-allow-headers', allowedOf(request.headers['access-control-request-headers'], keyHeader))
  response.setHeader('access-control-max-age', MAX_AGE)
  // A page of the internet that calls this machine asks once more (Private Network Access).
  if (request.headers['access-control-request-private-network'] === 'true') response.setHeader('access-control-allow-private-network', 'true')
  return true
}

/** Of the headers that are asked for, those that are understood: a wildcard would not cover `mcp-param-*` or Authorization. */
function allowedOf (asked: string | string[] | undefined, keyHeader: string): string {
  const names = String(asked ?? '').toLowerCase().split(',').map((name) => name.trim())
  return names.filter((name) => ALLOWED.has(name) || name === keyHeader || /^mcp-[a-z0-9-]+$/.test(name)).join(', ')
}
