import { ValueError } from './problem.js'

const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]+$/u
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]{1,128}$/i

/** Headers that frame a message or belong to one connection (RFC 9110 §7.6.1), or that the sidecar sets itself. */
const RESERVED_HEADERS = new Set([
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
  'transfer-encoding', 'upgrade', 'host', 'expect', 'accept', 'accept-encoding', 'last-event-id', 'date', 'via',
])

/** An upstream's name becomes a metric label and a path segment. */
export function readUpstreamName (text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(text)) {
    throw new ValueError('the name of an upstream is 1 to 64 letters, digits, "_", "." or "-", and starts with a letter or digit')
  }
  return text
}

/** @throws {ValueError} unless 1 to 256 printable characters without space around them, and no step of a path */
export function readPrincipalName (text: string): string {
  if (text === '.' || text === '..') throw new ValueError('"." and ".." cannot be the name of a principal: in the address of the admin API they are steps of a path, so it could never be reached')
  return readPrintable(text, 256, 'the name of a principal')
}

/** @throws {ValueError} unless 1 to 128 printable characters without space around them */
export function readAgentName (text: string): string {
  return readPrintable(text, 128, 'the name of an agent')
}

/** @throws {ValueError} unless it is a header that a credential may be sent in */
export function readInjectedHeader (name: string): string {
  const lower = readToken(name).toLowerCase()
  if (RESERVED_HEADERS.has(lower) || /^(content-|mcp-|sec-)/.test(lower)) {
    throw new ValueError('this header belongs to HTTP or MCP itself and cannot carry a credential')
  }
  return name
}

/** As `readInjectedHeader`, for a refresh request, where only the body's framing is not the config's to set. */
export function readRequestHeader (name: string): string {
  const lower = readToken(name).toLowerCase()
  if (lower === 'accept') return name
  if (RESERVED_HEADERS.has(lower) || lower === 'content-length' || lower === 'content-encoding') {
    throw new ValueError('this header is set by HTTP itself')
  }
  return name
}

/** The header that carries a session key; given back in lower case. */
export function readCallerHeader (name: string): string {
  const lower = readToken(name).toLowerCase()
  if (lower === 'authorization') throw new ValueError('Authorization is always understood: name another header here')
  if (RESERVED_HEADERS.has(lower) || lower === 'cookie' || /^(content-|mcp-|sec-)/.test(lower)) {
    throw new ValueError('this header belongs to HTTP or MCP itself and cannot carry a session key')
  }
  return lower
}

function readToken (name: string): string {
  if (!TOKEN.test(name)) throw new ValueError('expected the name of an HTTP header (RFC 9110), such as X-API-KEY')
  return name
}

function readPrintable (text: string, max: number, what: string): string {
  if (text.length > max || text !== text.trim() || !PRINTABLE.test(text)) {
    throw new ValueError(`${what} is 1 to ${max} printable characters, without space around them`)
  }
  return text
}
