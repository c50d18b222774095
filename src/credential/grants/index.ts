import type { Clock } from '../../clock.js'
import type { CredentialConfig } from '../../config/config.js'
import { apiTokenGrant } from './api-token.js'
import { clientCredentialsGrant } from './client-credentials.js'
import type { Grant } from './grant.js'
import { jsonRefreshGrant } from './json-refresh.js'
import { refreshTokenGrant } from './refresh-token.js'

/** The grant that a credential of the config asks for. */
export function grantFor (config: CredentialConfig, clock: Clock): Grant {
  switch (config.type) {
    case 'api_token': return apiTokenGrant(config, clock)
    case 'refresh_token': return refreshTokenGrant(config, clock)
    case 'client_credentials': return clientCredentialsGrant(config, clock)
    case 'json_refresh': return jsonRefreshGrant(config, clock)
  }
}
