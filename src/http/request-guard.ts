import type { IncomingMessage } from 'node:http'

/** Characters of a path segment as RFC 3986 §3.3 has them, and triplets, which are looked at one by one. */
const PATH = /^(?:\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*)+$/
/** Encoded: slash, backslash, dot, percent sign, control characters. Servers differ on when they decode these. */
const AMBIGUOUS = /%(?:2[ef5]|5c|[01][0-9a-f]|7f)/i
/**
 * Java servers cut `;…` off a segment before they resolve it, so `..;` is `..` to them. Any segment that begins or ends with
 * two dots is refused, since the forwarding library throws at those.
 */
const DOT_SEGMENT = /\/\.\.|\.\.(?:\/|$)|\/\.(?:[/;]|%3b|$)/i
/** A target has no fragment (RFC 9112 §3.2), and servers differ on what to do with one. */
const QUERY = /^[\x21\x22\x24-\x7e]*$/

/** Headers that decide where a request ends, where it goes or who sent it; two of them are two opinions (RFC 9110 §5.3). */
const SINGLE = new Set(['host', 'content-length', 'content-type', 'transfer-encoding', 'authorization', 'origin', 'mcp-session-id'])

/** Whether a request target may be passed on: nothing in it may mean another path to the server behind. */
export function isPlainTarget (target: string): boolean {
  const cut = target.indexOf('?')
  const path = cut < 0 ? target : target.slice(0, cut)
  return PATH.test(path) && !path.includes('//') && !DOT_SEGMENT.test(path) && !AMBIGUOUS.test(path) &&
    (cut < 0 || QUERY.test(target.slice(cut + 1)))
}

/**
 * Whether a request's head can be read in one way only: HTTP/1, no transfer coding but `chunked` alone, which is the only
 * one that is undone here, and each header that may come once came once.
 * @param also the header of the session key, in lower case
 */
export function isPlainHead (request: IncomingMessage, also: string): boolean {
  const coding = request.headers['transfer-encoding']
  if (request.httpVersionMajor !== 1 || (coding !== undefined && coding.toLowerCase() !== 'chunked')) return false
  const { rawHeaders } = request
  let seen: string[] | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase()
    if (!SINGLE.has(name) && name !== also) continue
    if (seen?.includes(name) === true) return false
    seen = seen === undefined ? [name] : [...seen, name]
  }
  return true
}
