import type { Clock } from '../../clock.js'
import type { CredentialConfig, TokenExchangeConfig } from '../../config/config.js'
import { apiTokenGrant } from './api-token.js'
import { clientCredentialsGrant } from './client-credentials.js'
import { commandGrant } from './command.js'
import { customGrant, type CredentialTypes } from './custom.js'
import type { Grant } from './grant.js'
import { Issuers } from './issuers.js'
import { jsonRefreshGrant } from './json-refresh.js'
import { jwtBearerGrant } from './jwt-bearer.js'
import { refreshTokenGrant } from './refresh-token.js'
import { signedJwtGrant } from './signed-jwt.js'
import { tokenExchangeGrants, type TokenExchanges } from './token-exchange.js'

/** Makes the grants of one process, which share what is known of their issuers. */
export class Grants {
  readonly #clock: Clock
  readonly #types: CredentialTypes
  readonly #issuers: Issuers

  /** @param types those that are not mcp-valet's own */
  constructor (clock: Clock, types: CredentialTypes = {}) {
    this.#clock = clock
    this.#types = types
    this.#issuers = new Issuers(clock)
  }

  /**
   * The grant that a credential of the config asks for.
   * @throws {RangeError} where it is of a type that nobody has registered
   */
  of (config: CredentialConfig, whose: { readonly principal: string, readonly upstream: string }): Grant {
    const [clock, issuers] = [this.#clock, this.#issuers]
    switch (config.type) {
      case 'api_token': return apiTokenGrant(config, clock)
      case 'refresh_token': return refreshTokenGrant(config, clock, issuers)
      case 'client_credentials': return clientCredentialsGrant(config, clock, issuers)
      case 'json_refresh': return jsonRefreshGrant(config, clock)
      case 'token_exchange': return this.exchangesOf(config)(undefined)
      case 'jwt_bearer': return jwtBearerGrant(config, clock, issuers)
      case 'signed_jwt': return signedJwtGrant(config, clock)
      case 'command': return commandGrant(config, clock)
      case 'custom': return customGrant(config, clock, whose, this.#types)
    }
  }

  /** As `tokenExchangeGrants`. */
  exchangesOf (config: TokenExchangeConfig): TokenExchanges {
    return tokenExchangeGrants(config, this.#clock, this.#issuers)
  }
}
