import { readListen } from '../config/listen.js'
import { AdminFailure } from './admin-failure.js'

/** Where an admin listener is: a URL, or the path of a unix socket. */
export type AdminPlace = { readonly url: URL } | { readonly socket: string }

/** What `admin.listen` says, as an address to call. @throws {AdminFailure} where port 0 leaves that open. @param config for the message */
export function placeOfListen (text: string, config: string): AdminPlace {
  const listen = readListen(text)
  if ('socket' in listen) return listen
  if (listen.port === 0) throw new AdminFailure(1, `admin.listen in ${config} has port 0, so only the log of mcp-valet knows the port: ${NAME_IT}`)
  return { url: new URL(`http://${reachable(listen.host)}:${listen.port}`) }
}

export const NAME_IT = 'name the sidecar with --admin-url URL or MCP_VALET_ADMIN_URL'

/** What the command line or the environment names. @throws {AdminFailure} */
export function placeOfText (text: string): AdminPlace {
  try {
    if (!/^https?:\/\//i.test(text)) {
      const listen = readListen(text)
      return 'socket' in listen ? listen : { url: new URL(`http://${bracketed(listen.host)}:${listen.port}`) }
    }
    const url = new URL(text)
    if (url.username === '' && url.password === '' && url.search === '' && url.hash === '') return { url }
  } catch {}
  // The text is not repeated: people put tokens into URLs.
  throw new AdminFailure(1, '--admin-url is no address of an admin API: expected http://host:port, https://host, host:port or unix:/path.sock')
}

/** For people. */
export function nameOf (at: AdminPlace): string {
  return 'socket' in at ? `unix:${at.socket}` : at.url.href.replace(/\/$/, '')
}

/** What listens on every address is called by the loopback one. */
function reachable (host: string): string {
  if (/^[0.]+$/.test(host)) return '127.0.0.1'
  return /^[0:]+$/.test(host) ? '[::1]' : bracketed(host)
}

function bracketed (host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
