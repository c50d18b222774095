import type { Listen } from './config.js'
import { ValueError } from './problem.js'
import { isLoopback } from './url.js'

export const DEFAULT_LISTEN = '127.0.0.1:8401'
export const DEFAULT_ADMIN_LISTEN = '127.0.0.1:8402'

const EXPECTED = 'expected host:port, [IPv6]:port or unix:/absolute/path.sock, such as 127.0.0.1:8401'

/**
 * Reads `host:port`, `[::1]:port` (the host is given back without its brackets) or `unix:/abs/path.sock`.
 * @throws {ValueError}
 */
export function readListen (text: string): Listen {
  if (text.startsWith('unix:')) return { socket: readSocketPath(text.slice('unix:'.length)) }
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9](?:[a-z0-9.-]{0,252})?)):([0-9]{1,5})$/i.exec(text)
  const [, ipv6, name, port] = match ?? []
  if (ipv6 !== undefined && !URL.canParse(`http://[${ipv6}]/`)) throw new ValueError(EXPECTED)
  const host = ipv6 ?? name
  if (host === undefined || Number(port) > 65_535) throw new ValueError(EXPECTED)
  return { host, port: Number(port) }
}

/** The text that `readListen` reads back to the same address. */
export function formatListen (listen: Listen): string {
  if ('socket' in listen) return `unix:${listen.socket}`
  return listen.host.includes(':') ? `[${listen.host}]:${listen.port}` : `${listen.host}:${listen.port}`
}

/** Whether binding one of them would keep the other from binding. Port 0 never collides. */
export function collides (a: Listen, b: Listen): boolean {
  if ('socket' in a || 'socket' in b) return 'socket' in a && 'socket' in b && a.socket === b.socket
  if (a.port !== b.port || a.port === 0) return false
  return a.host === b.host || isWildcard(a.host) || isWildcard(b.host) || (isLoopback(a.host) && isLoopback(b.host))
}

/** Whether only this machine can connect. */
export function isLocal (listen: Listen): boolean {
  return 'socket' in listen || isLoopback(listen.host)
}

function isWildcard (host: string): boolean {
  return /^[0:.]+$/.test(host)
}

function readSocketPath (path: string): string {
  // sun_path holds 108 bytes with its NUL on Linux, 104 elsewhere; a longer one is cut without an error.
  if (!path.startsWith('/') || path.includes('\0') || Buffer.byteLength(path) > 103) {
    throw new ValueError('expected unix: and an absolute path of at most 103 bytes')
  }
  return path
}
