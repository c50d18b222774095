import type { JWTPayload } from 'jose'
import type { JwtCallersConfig } from '../config/jwt-config.js'
import { readAgentName, readPrincipalName } from '../config/names.js'

/** Why a JWT is refused. The reason is made of known words and of what the config says, never of what the token holds. */
export class JwtRefused extends Error {
  readonly code: 'ERR_SESSION_UNKNOWN' | 'ERR_SESSION_EXPIRED'
  readonly reason: string

  constructor (reason: string, code: JwtRefused['code'] = 'ERR_SESSION_UNKNOWN') {
    super(reason)
    this.name = 'JwtRefused'
    this.code = code
    this.reason = reason
  }
}

/** What a verified JWT says of its caller. */
export interface Claimed {
  readonly principal: string
  readonly agent: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/**
 * Reads the claims of a JWT whose signature, issuer, audience and times were checked.
 * @throws {JwtRefused} where a name in it could not stand in a config: it would be in logs and in the state as it is
 */
export function claimedBy (payload: JWTPayload, config: Pick<JwtCallersConfig, 'principalClaim' | 'agentClaim'>): Claimed {
  // Bound to a key that the caller would have to prove (RFC 7800): as a plain bearer token it may be stolen goods.
  if (Object.hasOwn(payload, 'cnf')) throw new JwtRefused('it is bound to a key (cnf), which a bearer cannot prove')
  return {
    principal: named(payload, config.principalClaim, readPrincipalName),
    agent: agentOf(payload, config.agentClaim),
    expiresAt: (payload.exp as number) * 1000,
  }
}

/** The client that the token was issued to stands for the agent: `azp` (OpenID Connect) or `client_id` (RFC 9068). */
function agentOf (payload: JWTPayload, claim: string | undefined): string {
  const present = claim ?? ['azp', 'client_id'].find((name) => Object.hasOwn(payload, name))
  return present === undefined ? 'jwt' : named(payload, present, readAgentName)
}

function named (payload: JWTPayload, claim: string, read: (text: string) => string): string {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined
  try {
    if (typeof value === 'string') return read(value)
  } catch {
    // Said below, in words that hold nothing of the token.
  }
  throw new JwtRefused(`its claim ${JSON.stringify(claim)} holds no usable name`)
}
