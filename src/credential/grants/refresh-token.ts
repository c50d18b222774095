import type { Clock } from '../../clock.js'
import type { RefreshTokenConfig } from '../../config/config.js'
import { originOf } from './authorization-server.js'
import { accessToken, GrantError, refreshToken, seedToken, type Grant } from './grant.js'
import type { Issuers } from './issuers.js'
import { termsOf, tokenEndpoint } from './oauth.js'

/** OAuth 2.0 refresh-token grant (RFC 6749 §6), with the rotation of RFC 9700 §2.2.2. */
export function refreshTokenGrant (config: RefreshTokenConfig, clock: Clock, issuers: Issuers): Grant {
  const endpoint = tokenEndpoint(config, clock, issuers)
  const isKnown = config.clientId !== undefined && (config.tokenEndpoint ?? config.issuer) !== undefined
  return {
    type: config.type,
    kept: true,
    terms: termsOf(config),
    asks: originOf(config),
    async seed () {
      return {
        accessToken: await seedToken(config.accessToken, accessToken),
        refreshToken: await seedToken(config.refreshToken, refreshToken),
        ...(config.accessTokenExpiresAt === undefined ? {} : { expiresAt: config.accessTokenExpiresAt }),
      }
    },
    async exchange (held, mayAsk) {
      if (held.refreshToken === undefined || !isKnown) {
        throw new GrantError('unavailable', 'nobody has logged in yet: run mcp-valet login --principal … --upstream …, or put tokens through the admin API', { dormant: true })
      }
      return await endpoint.request({ grantType: config.type, parameters: { refresh_token: held.refreshToken.reveal() }, refreshes: true, mayAsk })
    },
  }
}
