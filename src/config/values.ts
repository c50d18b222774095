import { looksLikeSecret, ValueError } from './problem.js'

const RESERVED_PATHS = ['/.well-known', '/authorize', '/register', '/token']

/**
 * Where agents reach an upstream: `/tools/mcp`. Given back without a trailing slash. Only unreserved characters, as
 * everything else is read in two ways by somebody (`%2f`, `;`, and `:` and `*` by the router).
 */
export function readMountPath (text: string): string {
  const path = text.replace(/(?<=.)\/$/, '')
  if (!/^(\/[A-Za-z0-9._~-]+)+$/.test(path) || /\/\.{1,2}(\/|$)/.test(path)) {
    throw new ValueError('expected a path such as /tools/mcp: letters, digits and . _ ~ - between single slashes, without . or .. segments')
  }
  if (RESERVED_PATHS.some((reserved) => isAtOrBelow(path.toLowerCase(), reserved))) {
    throw new ValueError('/.well-known, /authorize, /register and /token must stay free: clients that find something there start an OAuth flow of their own')
  }
  return path
}

/** Segment-wise: `/a/b` is below `/a`, and `/ab` is not. */
function isAtOrBelow (path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}/`)
}

/** A header's value with `{token}` in it exactly once. */
export function readTokenTemplate (text: string): string {
  if (text.split('{token}').length !== 2) {
    throw new ValueError('must contain {token} exactly once, such as "Bearer {token}": the token itself is never written here')
  }
  return readHeaderText(text)
}

/** Text that can be sent in a header as it is: visible ASCII and spaces, none at the ends. */
export function readHeaderText (text: string): string {
  if (!/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text)) {
    throw new ValueError('expected printable ASCII characters, without space around them')
  }
  return text
}

/** RFC 6749 §3.3. */
export function readScope (text: string): string {
  if (!/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/.test(text)) {
    throw new ValueError('expected scopes with single spaces between them')
  }
  return text
}

/** A name accepted in Host: `valet.internal`, with a port or without; given back in lower case. */
export function readHost (text: string): string {
  if (!/^(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?)(:[0-9]{1,5})?$/i.test(text)) {
    throw new ValueError('expected a host name, with a port or without, such as valet.internal')
  }
  return text.toLowerCase()
}

/** An Origin as browsers send it (RFC 6454): `https://app.example`, `vscode-webview://id`. */
export function readOrigin (text: string): string {
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\*]+$/.test(text) || !URL.canParse(text) ||
    (/^https?:/.test(text) && new URL(text).origin !== text)) {
    throw new ValueError('expected an origin as browsers send it: scheme://host in lower case, with a port unless it is the default one, without a path')
  }
  return text
}

/** RFC 3339 date-time → milliseconds since the epoch. */
export function readTimestamp (text: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:[Zz]|([+-]\d\d:\d\d))$/.exec(text)
  const [, year, month, day, time, offset = 'Z'] = match ?? []
  const date = `${year}-${month}-${day}`
  // Date.parse rolls 30 February over into March: only a date that comes back as it went in exists.
  const midnight = Date.parse(`${date}T00:00:00Z`)
  const ms = Date.parse(`${date}T${time}${offset}`)
  if (Number.isNaN(ms) || !new Date(midnight).toISOString().startsWith(date)) {
    throw new ValueError('expected a date and time with its zone (RFC 3339), such as 2027-01-01T00:00:00Z')
  }
  return ms
}

/** RFC 6901, not the whole document. */
export function readPointer (text: string): string {
  if (!/^(\/([^~/]|~[01])*)+$/.test(text)) {
    throw new ValueError('expected a JSON Pointer (RFC 6901), such as /access_token or /data/token')
  }
  return text
}

/** A glob of tool names. Its length is bounded, as names are matched with it by the thousand. */
export function readToolPattern (text: string): string {
  if (text === '' || text.length > 256 || /[\p{Cc}\p{Cs}]/u.test(text)) {
    throw new ValueError('expected a tool\'s name or a glob such as search_*: 1 to 256 characters')
  }
  return text
}

/** What keys in Redis begin with. Braces are kept for the part that puts all of them on one node of a cluster. */
export function readRedisPrefix (text: string): string {
  if (!/^[\x21-\x7a|~]{1,64}$/.test(text)) throw new ValueError('expected 1 to 64 visible ASCII characters without braces, such as mcp-valet:')
  return text
}

/** A path in the file system. */
export function readFilePath (text: string): string {
  if (text === '' || text.includes('\0')) throw new ValueError('expected a path')
  return text
}

/** The name of an environment variable, and not the secret itself, which people write there by mistake. */
export function readEnvName (text: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text) || looksLikeSecret(text)) {
    throw new ValueError('expected the name of an environment variable')
  }
  return text
}

/** RFC 8693 §3. */
const TOKEN_TYPES = ['access_token', 'refresh_token', 'id_token', 'saml1', 'saml2', 'jwt']

/** A token type of RFC 8693 §3, by its last word or as a URI; given back as a URI. */
export function readTokenType (text: string): string {
  if (TOKEN_TYPES.includes(text)) return `urn:ietf:params:oauth:token-type:${text}`
  if (!/^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i.test(text)) throw new ValueError(`expected one of ${TOKEN_TYPES.join(', ')}, or a URI (RFC 8693)`)
  return text
}
