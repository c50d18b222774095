import { metadataPlaces } from '../config/url.js'
import { fetchJson, IssuerError } from './fetch-json.js'

/**
 * Where an issuer keeps its keys, by its own metadata (RFC 8414, OpenID Connect Discovery). The metadata's `issuer`
 * must be the one that was asked for to the letter (RFC 8414 §3.3), or one issuer could speak for another.
 * @throws {IssuerError}
 */
export async function discoverKeys (issuer: string): Promise<URL> {
  const failures: unknown[] = []
  for (const url of metadataPlaces(new URL(issuer))) {
    try {
      return keysOf(issuer, await fetchJson(url, 'its metadata'))
    } catch (error) {
      failures.push(error)
    }
  }
  // An issuer that publishes in one place only answers 404 in the other, which explains nothing.
  throw failures.find((error) => !(error instanceof IssuerError && error.status === 404)) ?? failures[0]
}

/** Keys may be on another host, as large issuers have it, but never behind plain http where the issuer itself has TLS. */
export function keysOf (issuer: string, metadata: Record<string, unknown>): URL {
  if (metadata.issuer !== issuer) throw new IssuerError('its metadata names another issuer: issuer must be written just as it is there')
  const { jwks_uri: written } = metadata
  if (typeof written !== 'string' || !URL.canParse(written)) throw new IssuerError('its metadata names no jwks_uri: give callers.jwt.jwks_uri')
  const url = new URL(written)
  const plain = url.protocol === 'http:' && new URL(issuer).protocol === 'http:'
  if (!plain && url.protocol !== 'https:') throw new IssuerError('its metadata names a jwks_uri without TLS')
  return url
}
