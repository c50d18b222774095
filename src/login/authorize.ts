import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { TokenEndpointConfig } from '../config/config.js'
import { clientAuthentication } from '../credential/grants/client-auth.js'
import { GrantError } from '../credential/grants/grant.js'
import { asFetch, type Asking } from './ask.js'
import type { LoginClient } from './client.js'
import { endpoint, type KnownIssuer } from './issuer.js'
import { LoginError, quoted, shown } from './problem.js'
import { asksOffline } from './scope.js'

/** One login: what is asked for, and what proves that the answer is to it. */
export interface Attempt {
  readonly issuer: URL
  readonly known: KnownIssuer
  readonly client: LoginClient
  readonly redirectUri: string
  readonly scope: string | undefined
  /** RFC 8707: sent with both requests, unless there is none. */
  readonly resource: string | undefined
  readonly state: string
  /** PKCE (RFC 7636): stays here until the code is used. */
  readonly verifier: string
}

/**
 * The address that the person is sent to. Where the issuer wants requests to be pushed (RFC 9126), it is pushed here.
 * @throws {LoginError}
 */
export async function authorizationUrl (attempt: Attempt, clock: Clock, stop: AbortSignal): Promise<URL> {
  const { issuer, known: { server, authorizationEndpoint }, client, scope } = attempt
  const parameters = new URLSearchParams({
    response_type: 'code',
    client_id: client.id,
    redirect_uri: attempt.redirectUri,
    state: attempt.state,
    code_challenge: await oauth.calculatePKCECodeChallenge(attempt.verifier),
    code_challenge_method: 'S256',
    ...resourceOf(attempt),
  })
  if (scope !== undefined) parameters.set('scope', scope)
  // OpenID Connect Core §11: without it an issuer leaves offline_access out.
  if (asksOffline(scope)) parameters.set('prompt', 'consent')
  const pushed = server.require_pushed_authorization_requests === true
    ? new URLSearchParams({ client_id: client.id, request_uri: await push(attempt, parameters, clock, { whom: `the issuer ${shown(issuer)}`, stop }) })
    : parameters
  const url = new URL(authorizationEndpoint)
  for (const [name, value] of pushed) url.searchParams.set(name, value)
  return url
}

async function push (attempt: Attempt, parameters: URLSearchParams, clock: Clock, asking: Asking): Promise<string> {
  const { issuer, known: { server } } = attempt
  endpoint(issuer, server, 'pushed_authorization_request_endpoint')
  const client = { client_id: attempt.client.id }
  const authentication = await clientAuthentication(clientConfig(attempt), clock).catch((error: unknown) => {
    throw error instanceof GrantError ? new LoginError(error.reason) : error
  })
  const answer = await oauth.pushedAuthorizationRequest(server, client, authentication, parameters, {
    [oauth.allowInsecureRequests]: true, [oauth.customFetch]: asFetch(asking),
  })
  try {
    return (await oauth.processPushedAuthorizationResponse(server, client, answer)).request_uri
  } catch (error) {
    throw new LoginError(error instanceof oauth.ResponseBodyError
      ? refusal(issuer, error.error, error.error_description)
      : `the issuer ${shown(issuer)} wants the login to be announced (RFC 9126), and answered that with HTTP ${answer.status} and something that it may not`)
  }
}

/**
 * Checks the answer that the browser brought back: from the issuer that was asked (RFC 9207), and no error.
 * @throws {LoginError}
 */
export function checkAnswer ({ issuer, known: { server }, client, state }: Attempt, parameters: URLSearchParams): URLSearchParams {
  const { issuer: expected, authorization_response_iss_parameter_supported: named } = server
  if (parameters.getAll('iss').some((iss) => iss !== expected) || (named === true && !parameters.has('iss'))) {
    throw new LoginError(`the answer does not come from the issuer ${shown(issuer)}, which was asked (RFC 9207), so its code was not used: log in again, and where it happens again, do not trust the upstream that named this issuer`)
  }
  try {
    const checked = oauth.validateAuthResponse(server, { client_id: client.id }, parameters, state)
    if (checked.has('code')) return checked
  } catch (error) {
    if (error instanceof oauth.AuthorizationResponseError) throw new LoginError(refusal(issuer, error.error, error.error_description))
  }
  throw new LoginError(`the answer of the issuer ${shown(issuer)} holds neither a code nor an error (RFC 6749 §4.1.2)`)
}

function refusal (issuer: URL, error: string, description: string | undefined): string {
  const said = description === undefined ? '' : `: “${quoted(description)}”`
  const hint = error === 'invalid_target' ? ': in the upstream\'s credential in the config, set resource to what the issuer knows, or to none' : ''
  return `the issuer ${shown(issuer)} refused the login with ${quoted(error)}${said}${hint}`
}

/** The parameter of RFC 8707, where one is sent. */
export function resourceOf ({ resource }: Attempt): { readonly resource?: string } {
  return resource === undefined ? {} : { resource }
}

/** Whoever asks the issuer for something on behalf of the client. The scope belongs to the authorization request alone. */
export function clientConfig ({ issuer, known, client, resource }: Attempt): TokenEndpointConfig {
  return { issuer, tokenEndpoint: known.tokenEndpoint, clientId: client.id, ...client.proof, scope: undefined, resource }
}
