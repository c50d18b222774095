import * as oauth from 'oauth4webapi'
import { isLoopback } from '../config/url.js'
import { isPlainText } from './address.js'
import { ask, asFetch, UnreachableError, type Asking } from './ask.js'
import { LoginError, shown } from './problem.js'

/** An authorization server whose metadata has been checked. */
export interface KnownIssuer {
  /** Its `issuer` is spelt as it spells it itself. */
  readonly server: oauth.AuthorizationServer
  readonly authorizationEndpoint: URL
  readonly tokenEndpoint: URL
  /** Whether a sidecar finds this metadata again by the issuer alone; else it needs the token endpoint. */
  readonly discoverable: boolean
}

/**
 * Fetches an issuer's metadata (RFC 8414 §3, then OpenID Connect Discovery at the two places that are in use) and checks
 * what a login depends on: `issuer` is the one that was asked for (RFC 8414 §3.3), and PKCE with S256 is understood.
 * @throws {LoginError}
 */
export async function discoverIssuer (issuer: URL, stop: AbortSignal): Promise<KnownIssuer> {
  const asking: Asking = { whom: `the issuer ${shown(issuer)}`, stop }
  const failures: LoginError[] = []
  for (const place of PLACES) {
    try {
      const answer = await place.fetch(issuer, asking)
      if (answer !== undefined) return checked(issuer, await metadataIn(answer, issuer), place.discoverable)
    } catch (error) {
      // One that cannot be reached at one place cannot be reached at the next.
      if (!(error instanceof LoginError) || error instanceof UnreachableError || stop.aborted) throw error
      failures.push(error)
    }
  }
  throw failures.find((failure) => !(failure instanceof NothingThereError)) ?? failures[0] as LoginError
}

class NothingThereError extends LoginError {}

type Place = { readonly discoverable: boolean, fetch (issuer: URL, asking: Asking): Promise<Response> | undefined }

const byLibrary = (algorithm: 'oauth2' | 'oidc'): Place => ({
  discoverable: true,
  fetch: async (issuer, asking) => await oauth.discoveryRequest(issuer, { algorithm, [oauth.customFetch]: asFetch(asking), [oauth.allowInsecureRequests]: true }),
})

const PLACES: readonly Place[] = [
  byLibrary('oauth2'),
  byLibrary('oidc'),
  {
    discoverable: false,
    fetch: (issuer, asking) => issuer.pathname === '/'
      ? undefined
      : ask(new URL(`/.well-known/openid-configuration${issuer.pathname.replace(/\/$/, '')}`, issuer), { headers: { accept: 'application/json' } }, asking),
  },
]

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

function checked (issuer: URL, server: oauth.AuthorizationServer, discoverable: boolean): KnownIssuer {
  const methods: unknown = server.code_challenge_methods_supported
  if (!Array.isArray(methods) || !methods.includes('S256')) {
    throw new LoginError(`the issuer ${shown(issuer)} does not say that it supports PKCE with S256 (code_challenge_methods_supported), without which a code that is caught on its way can be used by whoever catches it: turn it on there`)
  }
  return {
    server,
    authorizationEndpoint: endpoint(issuer, server, 'authorization_endpoint'),
    tokenEndpoint: endpoint(issuer, server, 'token_endpoint'),
    discoverable,
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
