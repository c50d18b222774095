/** Meant for one hop only (RFC 9110 §7.6.1), or about the connection that ends here. */
const HOP_BY_HOP = [
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'proxy-authentication-info',
  'te', 'trailer', 'transfer-encoding', 'upgrade', 'http2-settings', 'expect', 'host', 'content-length',
]
/** What a caller may have put there of its own: none of it is the principal's, so none of it goes on. */
const CREDENTIALS = ['authorization', 'x-api-key', 'cookie', 'cookie2', 'set-cookie']
/** Sealed for its agent; the upstream gets its own id, from who has opened it. */
const BOUND = ['mcp-session-id']

/**
 * What an answer must not carry to an agent: the upstream's cookies, a challenge that would start an OAuth dance, and what
 * leads a browser elsewhere.
 * `Access-Control-*` are left out too: which pages may call is `callers.origins` to say, and this listener's own to tell.
 */
const NOT_FOR_AGENTS = new Set([
  ...HOP_BY_HOP.filter((name) => name !== 'content-length'),
  'set-cookie', 'set-cookie2', 'www-authenticate', 'authentication-info', 'authorization', 'x-api-key', 'alt-svc', 'clear-site-data', 'refresh',
])

/**
 * Which of a caller's headers go to an upstream. Both sides are flat lists of names and values, as node:http has them in
 * `rawHeaders`, so that what came in two lines leaves in two.
 */
export type RequestHeaderFilter = (rawHeaders: readonly string[], connection: string | undefined, keepOwnToken: boolean) => string[]

const NOT_PLAIN = new Set(['accept-encoding', 'range', 'if-range'])

/** Spellings of names that are remembered; agents use a dozen, and what a stranger makes up must not fill the memory. */
const MOST_SPELLINGS = 256

type Verdict = 'keep' | 'own_token' | 'drop'

/**
 * @param keyHeader the header of the session key, in lower case
 * @param injected the names of the headers that the sidecar itself sets at this upstream
 */
export function requestHeaderFilter (keyHeader: string, injected: Iterable<string>): RequestHeaderFilter {
  const never = new Set([...HOP_BY_HOP, ...CREDENTIALS, ...BOUND, ...[keyHeader, ...injected].map(asRead)])
  const spellings = new Map<string, { readonly name: string, readonly verdict: Verdict }>()

  const judge = (spelling: string): { readonly name: string, readonly verdict: Verdict } => {
    const name = spelling.toLowerCase()
    const verdict = !never.has(asRead(name)) ? 'keep' : name === 'authorization' || name === 'x-api-key' ? 'own_token' : 'drop'
    const judged = { name, verdict } as const
    if (spellings.size < MOST_SPELLINGS) spellings.set(spelling, judged)
    return judged
  }

  return (rawHeaders, connection, keepOwnToken) => {
    const listed = connectionListed(connection)
    const kept: string[] = []
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelling = rawHeaders[i] as string
      const { name, verdict } = spellings.get(spelling) ?? judge(spelling)
      if (verdict === 'drop' || (verdict === 'own_token' && !keepOwnToken) || listed?.has(name) === true) continue
      kept.push(name, rawHeaders[i + 1] as string)
    }
    return kept
  }
}

/**
 * The headers of a call whose answer must be readable here: whole, and in no coding. A server may still choose one
 * (RFC 9110 §12.5.3 is but a wish), and its answer is refused then.
 */
export function askingPlainly (headers: readonly string[]): string[] {
  const asked = headers.filter((_, i) => !NOT_PLAIN.has(asRead(headers[i - i % 2] as string)))
  asked.push('accept-encoding', 'identity')
  return asked
}

/** Many servers read X_Api_Key as X-Api-Key (RFC 3875 §4.1.18), so that spelling is the same header here. */
function asRead (name: string): string {
  return (name.includes('_') ? name.replaceAll('_', '-') : name).toLowerCase()
}

interface Session { show (own: string): string }

/** Where a redirect of an upstream may lead: its own base URL, and the path at which agents reach that. */
export interface Base { readonly base: URL, readonly path: string }

/**
 * The headers of an answer as the agent may see them, as a flat list of names and values.
 *
 * A `Location` below the upstream's own base becomes the same place behind the sidecar; any other is left out, since an
 * agent that followed it would take its session key to a host that nobody has named.
 * @param token the one that was sent: an upstream that echoes it in a header must not hand it to the agent
 * @param session gives the upstream's session id the form that the agent may know
 */
export function responseHeaders (headers: Record<string, string | string[] | undefined>, token: string | undefined, base: Base, session: Session): string[] {
  const listed = connectionListed(headers.connection)
  const kept: string[] = []
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || NOT_FOR_AGENTS.has(name) || name.startsWith('access-control-') || listed?.has(name) === true) continue
    // In one line, as RFC 9110 §5.3 allows: where headers were set before, writeHead keeps but the last of several lines.
    const line = typeof value === 'string' ? value : value.join(', ')
    add(kept, name, name === 'mcp-session-id' && !UNSENDABLE.test(line) ? session.show(line) : line, token, base)
  }
  return kept
}

function add (kept: string[], name: string, value: string, token: string | undefined, base: Base): void {
  const shown = name === 'location' || name === 'content-location' ? relocated(value, base) : value
  if (shown === undefined || UNSENDABLE.test(shown)) return
  kept.push(name, name === 'vary' ? varying(shown) : redacted(name, shown, token))
}

/** A length is the framing of the answer, which must stay whole where a token is as short as a number. */
function redacted (name: string, value: string, token: string | undefined): string {
  return token === undefined || name === 'content-length' || !value.includes(token) ? value : value.replaceAll(token, '[redacted]')
}

/** Every answer here depends on Origin, as the guard judges it. */
function varying (vary: string): string {
  return /(?:^|[,\s])(?:\*|origin)(?:$|[,\s])/i.test(vary) ? vary : `${vary}, Origin`
}

/** What node:http would throw on (RFC 9110 §5.5): one broken header must not cost the whole answer. */
const UNSENDABLE = /[^\t\x20-\x7e\x80-\xff]/

/** The header names that a Connection header takes along with it; nearly always there are none. */
function connectionListed (value: string | string[] | undefined): Set<string> | undefined {
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined
  return new Set(String(value).toLowerCase().split(',').map((name) => name.trim()))
}

function relocated (location: string, { base, path }: Base): string | undefined {
  const target = parsed(location, base)
  if (target === null || target.origin !== base.origin) return undefined
  const root = base.pathname.replace(/\/$/, '')
  if (target.pathname !== root && !target.pathname.startsWith(root + '/')) return undefined
  return path + target.pathname.slice(root.length) + target.search + target.hash
}

function parsed (location: string, base: URL): URL | null {
  try {
    return new URL(location, base)
  } catch {
    return null
  }
}
