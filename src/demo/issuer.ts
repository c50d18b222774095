import { createServer, type IncomingMessage } from 'node:http'
import type { JSONWebKeySet, JWTPayload } from 'jose'
import type { IssuerClient } from './client-auth.js'
import { listen, readText, send, shut, type Answer } from './http.js'
import { OAuthError } from './oauth-error.js'
import { createSigner } from './signer.js'
import { createTokenEndpoint, refusal, SCOPE } from './token-endpoint.js'
import { TokenFamilies, type Grant } from './token-family.js'

export type { IssuerClient } from './client-auth.js'
export type { Answer as TokenAnswer } from './http.js'

const BODY_LIMIT = 64 * 1024

/** The answer of RFC 6749 §5.1; `expires_in` in seconds. */
export interface TokenSet {
  access_token: string
  refresh_token: string
  expires_in: number
}

/** Stands between a token request and its answer: `next` gives the issuer's own answer, `disconnect` none at all. */
export type TokenHook = (params: URLSearchParams, next: () => Promise<Answer>) =>
  Answer | 'disconnect' | undefined | Promise<Answer | 'disconnect' | undefined>

export interface IssuerOptions {
  /** Resource the tokens are for; a function where that resource starts after its issuer. */
  readonly audience: string | (() => string)
  /** Seconds an access token lives; 15 unless given. */
  readonly lifetime?: number
  /** Clients known; one public client `demo` unless given. The first is the one a login belongs to. */
  readonly clients?: readonly IssuerClient[]
  /** Seconds in which the refresh token just rotated out gives its own successor again; 0 unless given. */
  readonly graceSeconds?: number
  readonly host?: string
  readonly port?: number
  /** Issuer identifier, where it is reached by another name than the one it listens on. */
  readonly url?: string
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  readonly onTokenRequest?: TokenHook
}

export interface Counts { ok: number, refused: number }

export interface Issuer {
  readonly url: string
  readonly tokenEndpoint: string
  readonly jwksUri: string
  readonly jwks: JSONWebKeySet
  /** Opens a refresh token family for a subject: what the login page of a product gives. */
  login (subject: string): Promise<TokenSet>
  /** An access token with claims of one's own over the usual ones, to test whom a server refuses. */
  mint (subject: string, claims?: JWTPayload): Promise<string>
  /** Ends every refresh token of a subject; access tokens live on until they expire. */
  revoke (subject: string): void
  /** Token requests by grant; `ok` are those whose answer held an access token. */
  readonly requests: Readonly<Record<'refresh_token' | 'client_credentials' | 'other', Counts>>
  readonly families: { readonly active: number, readonly revoked: number }
  close (): Promise<void>
}

/**
 * A small OAuth 2.0 token issuer: metadata (RFC 8414), JWKS, and a token endpoint with `client_credentials` and rotating
 * `refresh_token` grants (RFC 6749, RFC 8707, RFC 9068). It has no login page; `login` stands for it.
 */
export async function createIssuer (options: IssuerOptions): Promise<Issuer> {
  const { lifetime = 15, graceSeconds = 0, now = Date.now } = options
  const given = options.audience
  const audience = typeof given === 'function' ? given : () => given
  const clients = options.clients ?? [{ id: 'demo' }]
  const signer = await createSigner()
  const families = new TokenFamilies({ graceMs: graceSeconds * 1000, idleMs: 24 * 60 * 60 * 1000, now })
  const sign = async (grant: Grant): Promise<string> => await signer.sign(claims(grant))
  const grant = createTokenEndpoint({ clients, families, audience, sign, lifetime, grace: graceSeconds > 0, now })
  const requests = { refresh_token: { ok: 0, refused: 0 }, client_credentials: { ok: 0, refused: 0 }, other: { ok: 0, refused: 0 } }

  const server = createServer((req, res) => {
    route(req)
      .then((answer) => answer === 'disconnect' ? res.destroy() : send(res, answer))
      .catch(() => res.destroy())
  })
  const listening = await listen(server, { host: options.host ?? '127.0.0.1', port: options.port ?? 0 })
  const url = options.url ?? listening
  const tokenEndpoint = `${url}/token`
  const jwksUri = `${url}/jwks`

  async function route (req: IncomingMessage): Promise<Answer | 'disconnect'> {
    const path = req.url?.split('?')[0]
    if (path === '/token') {
      return req.method === 'POST' ? await token(req) : { status: 405, headers: { Allow: 'POST' } }
    }
    if (req.method !== 'GET') return { status: 405, headers: { Allow: 'GET' } }
    if (path === '/jwks') return { status: 200, body: signer.jwks }
    if (path === '/.well-known/oauth-authorization-server') return { status: 200, body: metadata() }
    if (path === '/healthz') return { status: 200, body: { status: 'ok' } }
    return { status: 404, body: { error: 'not_found' } }
  }

  function metadata (): object {
    return {
      issuer: url,
      token_endpoint: tokenEndpoint,
      jwks_uri: jwksUri,
      grant_types_supported: ['refresh_token', 'client_credentials'],
      response_types_supported: [],
      scopes_supported: SCOPE.split(' '),
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
    }
  }

  async function token (req: IncomingMessage): Promise<Answer | 'disconnect'> {
    const text = await readText(req, BODY_LIMIT)
    // The rest of the body is not read, so the connection cannot carry another request.
    if (text === undefined) return refusal(new OAuthError('invalid_request', 'the body is too large', { status: 413, headers: { Connection: 'close' } }))

    const params = new URLSearchParams(text)
    const { 'content-type': contentType, authorization } = req.headers
    const next = async (): Promise<Answer> => await grant({ contentType, authorization, params })
    const answer = await options.onTokenRequest?.(params, next) ?? await next()

    const counts = requests[kind(params.get('grant_type'))]
    counts[isTokenSet(answer) ? 'ok' : 'refused']++
    return answer
  }

  function claims ({ subject, clientId, scope }: Grant): JWTPayload {
    const iat = Math.floor(now() / 1000)
    return { iss: url, sub: subject, aud: audience(), iat, exp: iat + lifetime, client_id: clientId, scope }
  }

  const first = (subject: string): Grant => ({ subject, clientId: clients[0]?.id ?? '', scope: SCOPE })
  return {
    url,
    tokenEndpoint,
    jwksUri,
    jwks: signer.jwks,
    login: async (subject) => ({
      access_token: await sign(first(subject)),
      refresh_token: families.open(first(subject)),
      expires_in: lifetime,
    }),
    mint: async (subject, own) => await signer.sign({ ...claims(first(subject)), ...own }),
    revoke: (subject) => families.revoke(subject),
    get requests () { return structuredClone(requests) },
    get families () { return families.counts },
    close: async () => await shut(server),
  }
}

function kind (grantType: string | null): 'refresh_token' | 'client_credentials' | 'other' {
  return grantType === 'refresh_token' || grantType === 'client_credentials' ? grantType : 'other'
}

function isTokenSet (answer: Answer | 'disconnect'): boolean {
  return typeof answer === 'object' && typeof answer.body === 'object' && 'access_token' in answer.body
}
