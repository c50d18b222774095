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
const SINGLE = ['host', 'content-length', 'content-type', 'transfer-encoding', 'authorization', 'origin', 'mcp-session-id']
/** Spellings of names that are remembered; agents use a dozen, and what a stranger makes up must not fill the memory. */
const MOST_SPELLINGS = 256

/** Whether a request target may be passed on: nothing in it may mean another path to the server behind. */
export function isPlainTarget (target: string): boolean {
  const cut = target.indexOf('?')
  const path = cut < 0 ? target : target.slice(0, cut)
  return PATH.test(path) && !path.includes('//') && !DOT_SEGMENT.test(path) && !AMBIGUOUS.test(path) &&
    (cut < 0 || QUERY.test(target.slice(cut + 1)))
}

/**
 * Tells whether a request's head can be read in one way only: HTTP/1, no transfer coding but `chunked` alone, which is the
 * only one that is undone here, and each header that may come once came once.
 * @param also the header of the session key, in lower case
 */
export function headGuard (also: string): (request: IncomingMessage) => boolean {
  const bits = new Map([...new Set([...SINGLE, also])].map((name, i) => [name, 1 << i]))
  const spellings = new Map<string, number>()

  const bitOf = (spelling: string): number => {
    const bit = bits.get(spelling.toLowerCase()) ?? 0
    if (spellings.size < MOST_SPELLINGS) spellings.set(spelling, bit)
    return bit
  }

  return ({ httpVersionMajor, headers, rawHeaders }) => {
    const coding = headers['transfer-encoding']
    if (httpVersionMajor !== 1 || (coding !== undefined && coding.toLowerCase() !== 'chunked')) return false
    let seen = 0
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelling = rawHeaders[i] as string
      const bit = spellings.get(spelling) ?? bitOf(spelling)
      if ((seen & bit) !== 0) return false
      seen |= bit
    }
    return true
  }
}
