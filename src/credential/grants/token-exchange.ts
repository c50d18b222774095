import type { TokenEndpointResponse } from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { SecretRef, TokenExchangeConfig } from '../../config/config.js'
import type { Secret } from '../../secret.js'
import { originOf } from './authorization-server.js'
import { GrantError, NOTHING_HELD, readSecret, type Grant } from './grant.js'
import type { Issuers } from './issuers.js'
import { tokenEndpoint } from './oauth.js'

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:token-exchange'
/** What an access token is called, since a JWT may be either (RFC 8693 §3). */
const ACCESS_TOKENS = ['urn:ietf:params:oauth:token-type:access_token', 'urn:ietf:params:oauth:token-type:jwt']

/** @param subject the caller's own JWT, for a config that names no subject_token */
export type TokenExchanges = (subject: Secret | undefined) => Grant

/**
 * OAuth 2.0 token exchange (RFC 8693): a token of the subject for one that the upstream takes.
 *
 * Nothing of it is kept: whoever has the subject's token can ask again, and a token must not outlive a subject that was
 * replaced. For the same reason a refresh token in the answer is left aside.
 * @returns makes the grant of one subject; all of them ask the same issuer, which is discovered once
 */
export function tokenExchangeGrants (config: TokenExchangeConfig, clock: Clock, issuers: Issuers): TokenExchanges {
  const endpoint = tokenEndpoint(config, clock, issuers)
  return (subject) => ({
    type: config.type,
    kept: false,
    terms: '',
    asks: originOf(config),
    seed: async () => NOTHING_HELD,
    async exchange () {
      const [subjectToken, actorToken] = await Promise.all([subjectOf(config, subject), optional(config.actorToken)])
      return await endpoint.request({
        grantType: GRANT_TYPE,
        parameters: {
          subject_token: subjectToken.reveal(),
          subject_token_type: config.subjectTokenType,
          requested_token_type: config.requestedTokenType,
          audience: config.audience,
          actor_token: actorToken?.reveal(),
          actor_token_type: actorToken === undefined ? undefined : config.actorTokenType,
        },
        refused: config.subjectToken === undefined ? 'it does not accept the caller\'s JWT, which may have expired' : 'check subject_token, which may have expired, and subject_token_type',
        unfit: (answer) => unfit(answer, config),
      })
    },
  })
}

async function optional (ref: SecretRef | undefined): Promise<Secret | undefined> {
  return ref === undefined ? undefined : await readSecret(ref)
}

async function subjectOf (config: TokenExchangeConfig, subject: Secret | undefined): Promise<Secret> {
  if (config.subjectToken !== undefined) return await readSecret(config.subjectToken)
  if (subject !== undefined) return subject
  throw new GrantError('unavailable', 'there is no token to exchange: the agent must present a JWT of its own (see callers.jwt), or the credential name a subject_token', { dormant: true })
}

/**
 * RFC 8693 §2.2.1. An answer that does not say what it issued is taken to have issued what was asked for. A `token_type`
 * of N_A says that the token is no access token; it is used all the same where the config asked for that very type,
 * as then the operator knows what the upstream takes.
 */
function unfit (answer: TokenEndpointResponse, { requestedTokenType }: TokenExchangeConfig): string | undefined {
  const issued = answer.issued_token_type
  const asAsked = issued !== undefined && issued === requestedTokenType
  if (issued !== undefined && !asAsked && !ACCESS_TOKENS.some((known) => known === issued)) return 'the issuer gave a token of another type than was asked for (issued_token_type)'
  if (answer.token_type === 'bearer' || (answer.token_type === 'n_a' && asAsked)) return undefined
  return 'the issuer gave a token that is not for use as a bearer token (token_type): ask for another requested_token_type'
}
