import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { RefreshTokenConfig } from '../../config/config.js'
import { accessToken, GrantError, refreshToken, seedToken, type Grant } from './grant.js'
import { authorizationServer, clientAuthentication, issue, originOf, termsOf } from './oauth.js'

/** OAuth 2.0 refresh-token grant (RFC 6749 §6), with the rotation of RFC 9700 §2.2.2. */
export function refreshTokenGrant (config: RefreshTokenConfig, clock: Clock): Grant {
  const server = authorizationServer(config, clock)
  const client = { client_id: config.clientId }
  return {
    type: config.type,
    kept: true,
    terms: termsOf(config),
    asks: originOf(config),
    async seed () {
      return {
        accessToken: await seedToken(config.accessToken, accessToken),
        refreshToken: await seedToken(config.refreshToken, refreshToken),
        expiresAt: config.accessTokenExpiresAt,
      }
    },
    async exchange (held) {
      const token = held.refreshToken
      if (token === undefined) throw new GrantError('unavailable', 'there is no refresh token to use')
      const [as, authentication] = await Promise.all([server(), clientAuthentication(config)])
      return await issue(config, clock, async (options) => await oauth.processRefreshTokenResponse(as, client,
        await oauth.refreshTokenGrantRequest(as, client, authentication, token.reveal(), options)))
    },
  }
}
