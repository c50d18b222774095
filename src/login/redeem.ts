import * as oauth from 'oauth4webapi'
import type { Clock } from '../clock.js'
import { readable } from '../config/raw.js'
import { readScope } from '../config/values.js'
import { clientAuthentication } from '../credential/grants/client-auth.js'
import { accessToken, GrantError, refreshToken, type Issued } from '../credential/grants/grant.js'
import { tidied } from '../credential/grants/token-answer.js'
import { askTokenEndpoint } from '../credential/grants/token-endpoint.js'
import { expiryOfIssued } from '../credential/lifetime.js'
import { clientConfig, resourceOf, type Attempt } from './authorize.js'
import { LoginError, shown } from './problem.js'

/** The scope is what the issuer says it granted, or what was asked for. */
export interface Tokens { readonly issued: Issued, readonly scope: string | undefined }

const FROM = 'the token endpoint'

/**
 * Redeems the code (RFC 6749 §4.1.3).
 * @param answer as `checkAnswer` gave it
 * @throws {LoginError}
 */
export async function redeem (attempt: Attempt, answer: URLSearchParams, clock: Clock): Promise<Tokens> {
  const { known: { server }, client, issuer } = attempt
  const requestedAt = clock.now()
  try {
    const response = await oauth.authorizationCodeGrantRequest(
      server, { client_id: client.id }, await clientAuthentication(clientConfig(attempt), clock), answer, attempt.redirectUri, attempt.verifier, {
        additionalParameters: resourceOf(attempt),
        [oauth.allowInsecureRequests]: true,
        [oauth.customFetch]: async (url: string, options: object) =>
          Response.json(tidied(await askTokenEndpoint(url, options, { now: () => clock.now(), refused: 'log in again' }))),
      })
    const tokens = await oauth.processAuthorizationCodeResponse(server, { client_id: client.id }, response)
    if (tokens.token_type !== 'bearer') throw new GrantError('unavailable', 'its token is of another type than Bearer')
    const issued = {
      accessToken: accessToken(tokens.access_token, FROM),
      refreshToken: tokens.refresh_token === undefined ? undefined : refreshToken(tokens.refresh_token, FROM),
      obtainedAt: requestedAt,
      expiresAt: expiryOfIssued(tokens.access_token, tokens.expires_in, requestedAt),
    }
    return { issued, scope: readable(tokens.scope, readScope) ?? attempt.scope }
  } catch (error) {
    // What the library says may quote the answer.
    const why = error instanceof GrantError ? error.reason : 'its answer is not what RFC 6749 §5.1 asks for'
    throw new LoginError(`the issuer ${shown(issuer)} gave no tokens for the code: ${why}`)
  }
}
