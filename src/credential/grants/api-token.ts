import type { Clock } from '../../clock.js'
import type { ApiTokenConfig } from '../../config/config.js'
import { expiryOfFound } from '../lifetime.js'
import { accessToken, GrantError, NOTHING_HELD, readSecret, type Grant } from './grant.js'

/**
 * A token that somebody else puts in place and replaces: a file, a variable, a command's output. Renewing it means
 * reading its source again. It is often opaque and lives until it is revoked; where it is a JWT its `exp` is believed.
 */
export function apiTokenGrant (config: ApiTokenConfig, clock: Clock): Grant {
  return {
    type: config.type,
    kept: false,
    terms: '',
    asks: config.token.source,
    seed: async () => NOTHING_HELD,
    async exchange () {
      const obtainedAt = clock.now()
      const token = accessToken((await readSecret(config.token)).reveal(), config.token.source)
      const said = expiryOfFound(token.reveal())
      const expiresAt = said ?? config.expiresAt
      if (expiresAt === undefined || expiresAt > obtainedAt) return { accessToken: token, refreshToken: undefined, obtainedAt, expiresAt }
      if (said !== undefined) throw new GrantError('unavailable', `${config.token.source} holds a token that has expired: put a new one there`)
      throw new GrantError('unavailable', 'the token that was put has expired, by the expires_in that came with it: put a new one', { dormant: true })
    },
  }
}
