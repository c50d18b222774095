import type { Clock } from '../../clock.js'
import { isSecretRef, type JwtBearerConfig } from '../../config/config.js'
import { originOf } from './authorization-server.js'
import { NOTHING_HELD, readSecret, type Grant } from './grant.js'
import type { Issuers } from './issuers.js'
import { mintJwt } from './minted-jwt.js'
import { tokenEndpoint, type TokenEndpoint } from './oauth.js'

const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/**
 * JWT bearer grant (RFC 7523 §2.1): an assertion for an access token. It is made here, for the issuer unless the config
 * names another audience, or read from where somebody else puts it.
 */
export function jwtBearerGrant (config: JwtBearerConfig, clock: Clock, issuers: Issuers): Grant {
  const endpoint = tokenEndpoint(config, clock, issuers)
  return {
    type: config.type,
    kept: false,
    terms: '',
    asks: originOf(config),
    seed: async () => NOTHING_HELD,
    exchange: async () => await endpoint.request({
      grantType: GRANT_TYPE,
      parameters: { assertion: await assertionOf(config, endpoint, clock) },
      refused: isSecretRef(config.assertion)
        ? 'check the assertion: its aud, whether it has expired, and whether the issuer trusts whoever signed it'
        : 'check iss, sub and aud of the assertion, the key that the issuer knows, and this machine\'s clock',
    }),
  }
}

async function assertionOf ({ assertion, clientId }: JwtBearerConfig, endpoint: TokenEndpoint, clock: Clock): Promise<string> {
  if (isSecretRef(assertion)) return (await readSecret(assertion)).reveal()
  const defaults = { ...(clientId === undefined ? {} : { iss: clientId }), aud: await endpoint.audience() }
  return (await mintJwt(assertion, defaults, clock)).jwt
}
