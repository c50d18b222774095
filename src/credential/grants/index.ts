import type { Clock } from '../../clock.js'
import type { CredentialConfig, CustomCredentialConfig } from '../../config/config.js'
import type { Secret } from '../../secret.js'
import { apiTokenGrant } from './api-token.js'
import { clientCredentialsGrant } from './client-credentials.js'
import { commandGrant } from './command.js'
import type { Grant } from './grant.js'
import { jsonRefreshGrant } from './json-refresh.js'
import { jwtBearerGrant } from './jwt-bearer.js'
import { refreshTokenGrant } from './refresh-token.js'
import { signedJwtGrant } from './signed-jwt.js'
import { tokenExchangeGrants } from './token-exchange.js'

/**
 * The grant that a credential of the config asks for.
 * @param subject the caller's own JWT, which a `token_exchange` without a `subject_token` exchanges: one grant for each caller
 * @param custom makes the grant of a type that is not mcp-valet's own
 */
export function grantFor (config: CredentialConfig, clock: Clock, subject?: Secret, custom: (config: CustomCredentialConfig) => Grant = nobodysOwn): Grant {
  switch (config.type) {
    case 'api_token': return apiTokenGrant(config, clock)
    case 'refresh_token': return refreshTokenGrant(config, clock)
    case 'client_credentials': return clientCredentialsGrant(config, clock)
    case 'json_refresh': return jsonRefreshGrant(config, clock)
    case 'token_exchange': return tokenExchangeGrants(config, clock)(subject)
    case 'jwt_bearer': return jwtBearerGrant(config, clock)
    case 'signed_jwt': return signedJwtGrant(config, clock)
    case 'command': return commandGrant(config, clock)
    case 'custom': return custom(config)
  }
}

function nobodysOwn ({ name }: CustomCredentialConfig): never {
  throw new RangeError(`there is no credential type ${JSON.stringify(name)} here`)
}
