import { ValueError } from './problem.js'

/**
 * Reads an absolute http(s) URL.
 * @throws {ValueError} for another scheme, for a user name or password, for a variable in the host, and for a fragment
 */
export function readHttpUrl (text: string): URL {
  const [, authority = ''] = /^https?:\/\/([^/?#\s\\]+)/i.exec(text) ?? []
  if (/[${}]/.test(authority)) throw new ValueError('must name the host itself: variables ($NAME) are not put in')
  if (Number(/:([0-9]+)$/.exec(authority)?.[1] ?? 0) > 65_535) throw new ValueError('has a port above 65535')
  const url = /^https?:\/\/[^\s\\]+$/i.test(text) && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw new ValueError('expected an absolute URL that starts with http:// or https://')
  if (url.username !== '' || url.password !== '') {
    throw new ValueError('must not hold a user name or password: give the principal a credential instead')
  }
  if (text.includes('#')) throw new ValueError('must not have a fragment (#…)')
  return url
}

/** An upstream's address: as `readHttpUrl`, and without a query, which could hold a secret and would be lost on calls below it. */
export function readUpstreamUrl (text: string): URL {
  const url = readHttpUrl(text)
  if (text.includes('?')) throw new ValueError('must not have a query (?…)')
  return url
}

/** An issuer identifier, RFC 8414 §2: no query, no fragment. */
export function readIssuer (text: string): URL {
  return readUpstreamUrl(text)
}

/**
 * Where an issuer's metadata may be: RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID Connect
 * Discovery §4 behind it, and there are issuers with OpenID Connect's before it (RFC 8414 §5), which MCP has clients try, too.
 */
export function metadataPlaces ({ origin, pathname }: URL): string[] {
  const path = pathname.replace(/\/$/, '')
  const places = [`${origin}/.well-known/oauth-authorization-server${path}`, `${origin}${path}/.well-known/openid-configuration`]
  return path === '' ? places : [...places, `${origin}/.well-known/openid-configuration${path}`]
}

/** As a `resource`: send none. It is no URI, so it cannot be meant as one. */
export const NO_RESOURCE = 'none'

/** A resource indicator, RFC 8707 §2: an absolute URI without a fragment, kept as it is written; or `none`. */
export function readResource (text: string): string {
  if (text === NO_RESOURCE) return text
  if (!/^[a-z][a-z0-9+.-]*:[^\s#\\]+$/i.test(text) || !URL.canParse(text)) {
    throw new ValueError('expected an absolute URI without a fragment, such as the MCP server\'s URL, or none')
  }
  const url = new URL(text)
  if (url.username !== '' || url.password !== '') throw new ValueError('must not hold a user name or password')
  return text
}

/** The upstream's URL as a resource indicator: without the slash that URL parsing adds to an empty path. */
export function resourceOf (url: URL, written: string): string {
  return url.pathname === '/' && !written.endsWith('/') ? url.href.slice(0, -1) : url.href
}

/** `localhost`, a name below it, 127.0.0.0/8 or ::1, in a URL's or a listen address's spelling. */
export function isLoopback (host: string): boolean {
  return /^(localhost|.+\.localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|\[?::1\]?)$/i.test(host)
}
