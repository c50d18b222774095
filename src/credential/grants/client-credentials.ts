import type { Clock } from '../../clock.js'
import type { ClientCredentialsConfig } from '../../config/config.js'
import { originOf } from './authorization-server.js'
import { NOTHING_HELD, type Grant } from './grant.js'
import type { Issuers } from './issuers.js'
import { termsOf, tokenEndpoint } from './oauth.js'

/** OAuth 2.0 client-credentials grant (RFC 6749 §4.4). */
export function clientCredentialsGrant (config: ClientCredentialsConfig, clock: Clock, issuers: Issuers): Grant {
  const endpoint = tokenEndpoint(config, clock, issuers)
  return {
    type: config.type,
    kept: true,
    terms: termsOf(config),
    asks: originOf(config),
    seed: async () => NOTHING_HELD,
    exchange: async () => await endpoint.request({ grantType: config.type, parameters: { audience: config.audience } }),
  }
}
