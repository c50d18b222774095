import { createLocalJWKSet, jwtVerify, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import type { JwtIssuer } from './jwt-issuer.js'
import { mint, startTokenServer, type TokenAnswer, type TokenRequest, type TokenServer } from './tokens.js'

/** What a token that was handed out stands for. */
export interface Exchanged { readonly token: string, readonly claims: JWTPayload, readonly subjectToken: string }

export interface ExchangeServer extends TokenServer {
  readonly issued: Exchanged[]
  /** Whose token this is, if it is the newest of its JWT. */
  holder (token: string): JWTPayload | undefined
}

export interface ExchangeOptions {
  /** Seconds. */
  readonly expiresIn?: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  readonly instead?: (request: TokenRequest, nth: number) => TokenAnswer | undefined | Promise<TokenAnswer | undefined>
}

/** An authorization server with the token-exchange grant (RFC 8693): takes the JWTs of an issuer and hands out opaque tokens. */
export async function startExchange (t: Test, issuer: JwtIssuer, options: ExchangeOptions = {}): Promise<ExchangeServer> {
  const { expiresIn = 3600, now = Date.now } = options
  const issued: Exchanged[] = []
  const server = await startTokenServer(t, async (request, nth) => {
    const other = await options.instead?.(request, nth)
    if (other !== undefined) return other
    if (request.path !== '/token') return { status: 404 }
    const subjectToken = request.form.get('subject_token') ?? ''
    if (request.form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:token-exchange') return { status: 400, body: { error: 'unsupported_grant_type' } }
    const claims = await jwtVerify(subjectToken, createLocalJWKSet({ keys: issuer.keys }), { currentDate: new Date(now()) }).then(({ payload }) => payload, () => undefined)
    if (claims === undefined) return { status: 400, body: { error: 'invalid_request' } }
    const token = mint('ex')
    issued.push({ token, claims, subjectToken })
    return { body: { access_token: token, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer', expires_in: expiresIn } }
  })
  return {
    ...server,
    issued,
    holder (token) {
      const found = issued.find((entry) => entry.token === token)
      return issued.findLast(({ subjectToken }) => subjectToken === found?.subjectToken) === found ? found?.claims : undefined
    },
  }
}
