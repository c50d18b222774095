import * as oauth from 'oauth4webapi'
import { isLoopback, metadataPlaces } from '../config/url.js'
import { isPlainText } from './address.js'
import { asFetch, UnreachableError, type Asking } from './ask.js'
import { LoginError, shown } from './problem.js'

/** An authorization server whose metadata has been checked. */
export interface KnownIssuer {
  /** Its `issuer` is spelt as it spells it itself. */
  readonly server: oauth.AuthorizationServer
  readonly authorizationEndpoint: URL
  readonly tokenEndpoint: URL
}

/**
 * Fetches an issuer's metadata, from where a sidecar will find it again by the issuer alone, and checks
 * what a login depends on: `issuer` is the one that was asked for (RFC 8414 §3.3), and PKCE with S256 is understood.
 * @throws {LoginError}
 */
export async function discoverIssuer (issuer: URL, stop: AbortSignal): Promise<KnownIssuer> {
  const asking: Asking = { whom: `the issuer ${shown(issuer)}`, stop }
  const failures: LoginError[] = []
  for (const place of metadataPlaces(issuer)) {
    try {
      return checked(issuer, await metadataIn(await fetched(place, issuer, asking), issuer))
    } catch (error) {
      // One that cannot be reached at one place cannot be reached at the next.
      if (!(error instanceof LoginError) || error instanceof UnreachableError || stop.aborted) throw error
      failures.push(error)
    }
  }
  throw failures.find((failure) => !(failure instanceof NothingThereError)) ?? failures[0] as LoginError
}

class NothingThereError extends LoginError {}

/** The library knows some of the places only, but what to send to each. */
async function fetched (place: string, issuer: URL, asking: Asking): Promise<Response> {
  const fetch = asFetch(asking)
  return await oauth.discoveryRequest(issuer, { [oauth.customFetch]: async (_url, options) => await fetch(place, options), [oauth.allowInsecureRequests]: true })
}

async function metadataIn (answer: Response, issuer: URL): Promise<oauth.AuthorizationServer> {
  const { status } = answer
  if (status !== 200) {
    const hint = status >= 300 && status < 400 ? ', a redirect, which is not followed' : ''
    throw new NothingThereError(`the issuer ${shown(issuer)} has no metadata where RFC 8414 and OpenID Connect put it (HTTP ${status}${hint}): check its URL`)
  }
  try {
    const server = await oauth.processDiscoveryResponse(issuer, answer)
    if (isPlainText(server.issuer)) return server
    throw new TypeError('an issuer that is none')
  } catch (error) {
    const mismatch = error instanceof oauth.OperationProcessingError && error.code === oauth.JSON_ATTRIBUTE_COMPARISON
    throw new LoginError(mismatch
      ? `the metadata of the issuer ${shown(issuer)} names another issuer: name the issuer exactly as it names itself, or do not trust it`
      : `the issuer ${shown(issuer)} answered with something that is no authorization server metadata (RFC 8414): check its URL`)
  }
}

function checked (issuer: URL, server: oauth.AuthorizationServer): KnownIssuer {
  const methods: unknown = server.code_challenge_methods_supported
  if (!Array.isArray(methods) || !methods.includes('S256')) {
    throw new LoginError(`the issuer ${shown(issuer)} does not say that it supports PKCE with S256 (code_challenge_methods_supported), without which a code that is caught on its way can be used by whoever catches it: turn it on there`)
  }
  return {
    server,
    authorizationEndpoint: endpoint(issuer, server, 'authorization_endpoint'),
    tokenEndpoint: endpoint(issuer, server, 'token_endpoint'),
  }
}

/**
 * An endpoint of the metadata: behind TLS, or no worse off than the issuer itself is. It may be on another host, as with
 * large issuers.
 * @throws {LoginError}
 */
export function endpoint (issuer: URL, server: oauth.AuthorizationServer, name: 'authorization_endpoint' | 'token_endpoint' | 'registration_endpoint' | 'pushed_authorization_request_endpoint'): URL {
  const text: unknown = server[name]
  const url = typeof text === 'string' && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw new LoginError(`the metadata of the issuer ${shown(issuer)} names no ${name}: it cannot be used to log in`)
  const asGood = url.protocol === 'https:' || (url.protocol === 'http:' && issuer.protocol === 'http:' && (isLoopback(url.hostname) || url.origin === issuer.origin))
  if (!asGood || url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new LoginError(`the metadata of the issuer ${shown(issuer)} names a ${name} that is not safe to use: it must be an https address without a user name and a fragment`)
  }
  return url
}
