import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { OAuthClientConfig } from '../../config/config.js'
import { expiryOfIssued } from '../lifetime.js'
import { accessToken, GrantError, readSecret, refreshToken, rotatedIn, type Issued } from './grant.js'
import { askTokenEndpoint } from './token-endpoint.js'

/** What a grant needs of its authorization server; discovered once and then kept (RFC 8414). */
export type ServerOf = () => Promise<oauth.AuthorizationServer>

/**
 * The server that the config names: by its token endpoint, or by its issuer, whose metadata is fetched when first
 * needed and again after a failure. The metadata's `issuer` must be the configured one to the letter (RFC 8414 §3.3).
 */
export function authorizationServer (config: OAuthClientConfig, clock: Clock): ServerOf {
  if (config.tokenEndpoint !== undefined) {
    const server = { issuer: config.tokenEndpoint.origin, token_endpoint: config.tokenEndpoint.href }
    return async () => server
  }
  const issuer = config.issuer as URL
  let known: Promise<oauth.AuthorizationServer> | undefined
  return () => {
    known ??= discover(issuer, clock).catch((error: unknown) => {
      known = undefined
      throw error
    })
    return known
  }
}

async function discover (issuer: URL, clock: Clock): Promise<oauth.AuthorizationServer> {
  let failure: unknown
  // An issuer publishes one or the other, and often both; OpenID Connect's place is the older one.
  for (const algorithm of ['oauth2', 'oidc'] as const) {
    try {
      const response = await oauth.discoveryRequest(issuer, { algorithm, [oauth.customFetch]: fetchMetadata(clock), [oauth.allowInsecureRequests]: true })
      const server = await oauth.processDiscoveryResponse(issuer, response)
      failure = unfit(issuer, server)
      if (failure === undefined) return server
    } catch (error) {
      failure = error
    }
  }
  const told = failure instanceof GrantError ? failure : undefined
  const reason = told?.reason ?? 'its metadata is not what RFC 8414 asks for, or names another issuer'
  throw new GrantError('unavailable', `the issuer ${issuer.origin} could not be discovered: ${reason}`, { retryAfter: told?.retryAfter })
}

function fetchMetadata (clock: Clock) {
  return async (url: string, options: object): Promise<Response> => {
    return Response.json(await askTokenEndpoint(url, options, { now: () => clock.now(), whom: 'its metadata endpoint' }))
  }
}

/** Metadata may send the grant to another host, as large issuers do, but never from https down to http. */
function unfit (issuer: URL, server: oauth.AuthorizationServer): GrantError | undefined {
  if (server.token_endpoint === undefined) return new GrantError('unavailable', 'its metadata names no token_endpoint')
  if (issuer.protocol === 'https:' && !server.token_endpoint.startsWith('https:')) return new GrantError('unavailable', 'its metadata names a token_endpoint without TLS')
  return undefined
}

/** The client as RFC 6749 §2.3 lets it prove itself; the secret is read afresh, so that a rotated one is picked up. */
export async function clientAuthentication (config: OAuthClientConfig): Promise<oauth.ClientAuth> {
  if (config.clientAuth === 'none' || config.clientSecret === undefined) return oauth.None()
  const secret = (await readSecret(config.clientSecret)).reveal()
  return config.clientAuth === 'client_secret_post' ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret)
}

/** What the tokens of this client are good for. */
export function termsOf (config: OAuthClientConfig & { readonly type: string }): string {
  return JSON.stringify([config.type, config.tokenEndpoint?.href ?? config.issuer?.href, config.clientId, config.scope ?? null, config.resource])
}

export function originOf (config: OAuthClientConfig): string {
  return (config.tokenEndpoint ?? config.issuer as URL).origin
}

/** The parameters that every grant here may add to its own: scope (RFC 6749 §3.3) and resource (RFC 8707). */
export function commonParameters (config: OAuthClientConfig): URLSearchParams {
  const parameters = new URLSearchParams({ resource: config.resource })
  if (config.scope !== undefined) parameters.set('scope', config.scope)
  return parameters
}

/**
 * Runs one token request and takes its answer in.
 * @param request is given options that bring our own bounded fetch. Plain http is the config's to allow, and it did.
 * @throws {GrantError}
 */
export async function issue (
  config: OAuthClientConfig, clock: Clock, request: (options: oauth.TokenEndpointRequestOptions) => Promise<oauth.TokenEndpointResponse>
): Promise<Issued> {
  const requestedAt = clock.now()
  let body: Record<string, unknown> | undefined
  try {
    const answer = await request({
      additionalParameters: commonParameters(config),
      [oauth.allowInsecureRequests]: true,
      [oauth.customFetch]: async (url: string, options: object) => {
        body = await askTokenEndpoint(url, options, { now: () => clock.now() })
        return Response.json(tidied(body))
      },
    })
    const token = accessToken(answer.access_token, 'the token endpoint')
    return {
      accessToken: token,
      refreshToken: answer.refresh_token === undefined ? undefined : refreshToken(answer.refresh_token, 'the token endpoint'),
      obtainedAt: requestedAt,
      expiresAt: expiryOfIssued(answer.access_token, answer.expires_in, requestedAt),
    }
  } catch (error) {
    if (body === undefined && error instanceof GrantError) throw error
    const reason = error instanceof GrantError ? error.reason : 'the token endpoint\'s answer is not what RFC 6749 §5.1 asks for: it must hold an access_token, of token_type Bearer'
    throw new GrantError('unavailable', reason, { rotated: rotatedIn(body?.refresh_token) })
  }
}

/**
 * What the library would refuse a whole answer for, and with it the refresh token that has just been rotated, although
 * issuers do send it: empty members, no token_type, a lifetime that is none. Nobody here uses an ID token, and checking
 * one would fail where the config names no issuer.
 */
function tidied (body: Record<string, unknown>): Record<string, unknown> {
  const { id_token: _, ...rest } = body
  const kept = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== ''))
  if (!(Number(kept.expires_in) > 0)) delete kept.expires_in
  return { token_type: 'Bearer', ...kept }
}
