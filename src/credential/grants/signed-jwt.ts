import type { Clock } from '../../clock.js'
import type { SignedJwtConfig } from '../../config/config.js'
import { accessToken, NOTHING_HELD, type Grant } from './grant.js'
import { mintJwt } from './minted-jwt.js'

/** A JWT that is made here and that the upstream checks itself: there is no issuer to ask. */
export function signedJwtGrant (config: SignedJwtConfig, clock: Clock): Grant {
  return {
    type: config.type,
    kept: false,
    terms: '',
    asks: config.key.source,
    seed: async () => NOTHING_HELD,
    async exchange () {
      const { jwt, issuedAt, expiresAt } = await mintJwt(config, {}, clock)
      return { accessToken: accessToken(jwt, 'signed_jwt'), refreshToken: undefined, obtainedAt: issuedAt, expiresAt }
    },
  }
}
