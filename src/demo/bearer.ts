import type { IncomingMessage } from 'node:http'
import type { AuthInfo } from '@modelcontextprotocol/server'
import { createLocalJWKSet, createRemoteJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose'
import { Secret } from '../secret.js'
import { sameSecret } from './client-auth.js'

export interface BearerOptions {
  readonly issuer: string
  /** Where the issuer's public keys are (a URL), or the keys themselves. */
  readonly jwks: string | URL | JSONWebKeySet
  readonly audience: () => string
  readonly now: () => number
}

/** What a request brought, by fingerprint, and whether it is let in. */
export interface Verdict {
  readonly authorization: string | undefined
  readonly apiKey: string | undefined
  readonly authInfo?: AuthInfo
  /** Why not: the `error_description` of RFC 6750 §3. */
  readonly refused?: string
}

/**
 * Checks a request as a strict resource server does: a Bearer JWT from this issuer for this audience that has not
 * expired (RFC 6750, RFC 9068), and the same token again in `X-API-KEY`.
 */
export function createBearerCheck (options: BearerOptions): (req: IncomingMessage) => Promise<Verdict> {
  const { jwks } = options
  const keys = typeof jwks === 'string' || jwks instanceof URL ? createRemoteJWKSet(new URL(jwks)) : createLocalJWKSet(jwks)

  return async (req) => {
    const token = bearer(sole(req, 'authorization'))
    const apiKey = sole(req, 'x-api-key')
    const seen = { authorization: fingerprint(token), apiKey: fingerprint(apiKey) }

    if (token === undefined) return { ...seen, refused: 'exactly one Bearer token is required' }
    if (apiKey === undefined || !sameSecret(apiKey, token)) return { ...seen, refused: 'X-API-KEY does not carry the same token' }
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: options.issuer,
        audience: options.audience(),
        currentDate: new Date(options.now()),
        algorithms: ['ES256'],
        typ: 'at+jwt',
        requiredClaims: ['sub', 'exp'],
      })
      return { ...seen, authInfo: authInfo(token, payload) }
    } catch (error) {
      return { ...seen, refused: error instanceof errors.JWTExpired ? 'the token has expired' : 'the token is not valid here' }
    }
  }
}

// A repeated credential header is ambiguous: two servers may read two different tokens out of it.
function sole (req: IncomingMessage, name: string): string | undefined {
  const values = req.headersDistinct[name]
  return values?.length === 1 ? values[0] : undefined
}

function bearer (authorization: string | undefined): string | undefined {
  return /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization ?? '')?.[1]
}

function fingerprint (value: string | undefined): string | undefined {
  return value === undefined ? undefined : new Secret(value).fingerprint
}

function authInfo (token: string, payload: JWTPayload): AuthInfo {
  return {
    token,
    clientId: String(payload.client_id),
    scopes: String(payload.scope).split(' '),
    expiresAt: payload.exp as number,
    extra: { sub: payload.sub },
  }
}
