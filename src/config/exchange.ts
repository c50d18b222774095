import type { CredentialConfig, TokenExchangeConfig } from './config.js'
import type { Finding } from './problem.js'
import { at, mapAt, type RawMap } from './raw.js'

/** What is wrong with a credential of type token_exchange that nobody gives a token to exchange. */
export const NO_SUBJECT = 'is required by a credential of type token_exchange, unless callers.jwt is set: then the caller\'s own JWT is exchanged'

/** Whether a credential has no token of its own to exchange, so that the JWT of each caller gives another one. */
export function exchangesCallersJwt (config: CredentialConfig): config is TokenExchangeConfig {
  return config.type === 'token_exchange' && config.subjectToken === undefined
}

/** As `exchangesCallersJwt`, of a merged credential as it is written, in a config whose callers show no JWT. */
export function exchangesNothing (raw: unknown, merged: RawMap): boolean {
  return at(mapAt(raw, 'callers'), 'jwt') === undefined && at(merged, 'type') === 'token_exchange' && at(merged, 'subject_token') === undefined
}

/** Upstreams whose defaults no principal completes: they can only be meant for callers that show a JWT. */
export function exchangeFindings (raw: unknown): Finding[] {
  const principals = mapAt(raw, 'principals')
  const used = new Set(Object.keys(principals).flatMap((name) => Object.keys(mapAt(mapAt(principals, name), 'credentials'))))
  return Object.entries(mapAt(raw, 'upstreams'))
    .filter(([name, upstream]) => !used.has(name) && exchangesNothing(raw, mapAt(upstream, 'credential')))
    .map(([name]) => ({ path: ['upstreams', name, 'credential', 'subject_token'], message: NO_SUBJECT }))
}
