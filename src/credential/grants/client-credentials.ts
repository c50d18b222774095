import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { ClientCredentialsConfig } from '../../config/config.js'
import type { Grant } from './grant.js'
import { authorizationServer, clientAuthentication, commonParameters, issue, originOf, termsOf } from './oauth.js'

/** OAuth 2.0 client-credentials grant (RFC 6749 §4.4). */
export function clientCredentialsGrant (config: ClientCredentialsConfig, clock: Clock): Grant {
  const server = authorizationServer(config, clock)
  const client = { client_id: config.clientId }
  return {
    type: config.type,
    kept: true,
    terms: termsOf(config),
    asks: originOf(config),
    seed: async () => ({ accessToken: undefined, refreshToken: undefined }),
    async exchange () {
      const [as, authentication] = await Promise.all([server(), clientAuthentication(config)])
      return await issue(config, clock, async (options) => await oauth.processClientCredentialsResponse(as, client,
        await oauth.clientCredentialsGrantRequest(as, client, authentication, commonParameters(config), options)))
    },
  }
}
