import type { CallersConfig } from './config.js'
import type { JwtCallersConfig } from './jwt-config.js'
import { readCallerHeader } from './names.js'
import type { RawConfig } from './schema.js'
import { DEFAULT_JWT_ALGORITHMS } from './schema-callers.js'
import { parseDuration } from './units.js'
import { readHost } from './values.js'

type RawCallers = NonNullable<RawConfig['callers']>

/** Fills in the defaults of `callers`, which were checked. */
export function resolveCallers (raw: RawCallers = {}): CallersConfig {
  return {
    header: readCallerHeader(raw.header ?? 'X-Session-Key'),
    hosts: (raw.hosts ?? []).map(readHost),
    origins: raw.origins ?? [],
    relayAuthorization: raw.relay_authorization ?? false,
    jwt: raw.jwt === undefined ? undefined : resolveJwt(raw.jwt),
  }
}

function resolveJwt (raw: NonNullable<RawCallers['jwt']>): JwtCallersConfig {
  return {
    issuer: raw.issuer,
    audience: [raw.audience].flat(),
    jwksUri: raw.jwks_uri === undefined ? undefined : new URL(raw.jwks_uri),
    principalClaim: raw.principal_claim ?? 'sub',
    agentClaim: raw.agent_claim,
    algorithms: raw.algorithms ?? DEFAULT_JWT_ALGORITHMS,
    clockToleranceMs: parseDuration(raw.clock_tolerance ?? '30s'),
  }
}
