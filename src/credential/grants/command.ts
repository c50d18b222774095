import type { Clock } from '../../clock.js'
import type { CommandConfig } from '../../config/config.js'
import { expiryOfFound, expiryOfIssued } from '../lifetime.js'
import { accessToken, GrantError, NOTHING_HELD, readSecret, type Grant } from './grant.js'

/** A token that a program prints: as it stands, or in JSON with its lifetime. Renewing it means running the program again. */
export function commandGrant (config: CommandConfig, clock: Clock): Grant {
  const { source } = config.output
  return {
    type: config.type,
    kept: false,
    terms: '',
    asks: source,
    seed: async () => NOTHING_HELD,
    async exchange () {
      const obtainedAt = clock.now()
      const printed = parse((await readSecret(config.output)).reveal().trim(), source)
      const token = accessToken(printed.access_token, source)
      // The program may have kept the token since an earlier run, so the time between its iat and exp is not what is left.
      const seconds = secondsIn(printed.expires_in)
      // Of an issuer, 0 may mean that it does not know; a program says how much is left, and that is nothing then.
      if (seconds !== undefined && seconds <= 0) throw new GrantError('unavailable', `${source} printed a token that has expired already, by its expires_in`)
      const left = expiryOfIssued('', seconds, obtainedAt)
      return { accessToken: token, refreshToken: undefined, obtainedAt, expiresAt: left ?? expiryOfFound(token.reveal()) }
    },
  }
}

function parse (text: string, source: string): { readonly access_token?: unknown, readonly expires_in?: unknown } {
  if (!text.startsWith('{')) return { access_token: text }
  try {
    return JSON.parse(text) as object
  } catch {
    throw new GrantError('unavailable', `${source} printed something that begins like JSON and is none`)
  }
}

/** Undefined for what is no finite number. */
function secondsIn (value: unknown): number | undefined {
  const seconds = typeof value === 'number' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : NaN
  return Number.isFinite(seconds) ? seconds : undefined
}
