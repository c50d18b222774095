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
      const left = expiryOfIssued('', secondsIn(printed.expires_in), obtainedAt)
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

function secondsIn (value: unknown): number | undefined {
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : undefined
}
