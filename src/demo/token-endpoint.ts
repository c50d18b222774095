import { authenticateClient, type IssuerClient } from './client-auth.js'
import type { Answer } from './http.js'
import { OAuthError } from './oauth-error.js'
import type { Grant, TokenFamilies } from './token-family.js'

/** What the issuer grants; a request may ask for less. */
export const SCOPE = 'tools:read tools:call'

const NO_STORE = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }

export interface TokenEndpointOptions {
  readonly clients: readonly IssuerClient[]
  readonly families: TokenFamilies
  readonly audience: () => string
  readonly sign: (grant: Grant) => Promise<string>
  /** Seconds an access token lives. */
  readonly lifetime: number
  /** Whether a successor must be kept, to be given again within the families' grace period. */
  readonly grace: boolean
  readonly now: () => number
}

export interface TokenRequest {
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly params: URLSearchParams
}

interface AccessToken {
  readonly token: Promise<string>
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** The token endpoint (RFC 6749 §3.2) without its HTTP: grants `refresh_token` and `client_credentials`. */
export function createTokenEndpoint (options: TokenEndpointOptions): (request: TokenRequest) => Promise<Answer> {
  const { families, audience, now } = options
  const clients = new Map(options.clients.map((client) => [client.id, client]))
  const successors = new Map<string, AccessToken>()

  async function grant (request: TokenRequest): Promise<Answer> {
    const { params } = request
    checkForm(request)
    const client = authenticateClient(request.authorization, params, clients)
    checkResource(params)
    const type = params.get('grant_type')
    if (type === 'refresh_token') return await refresh(client, params)
    if (type === 'client_credentials') return await clientCredentials(client, params)
    throw type === null
      ? new OAuthError('invalid_request', 'grant_type is missing')
      : new OAuthError('unsupported_grant_type', 'use refresh_token or client_credentials')
  }

  async function refresh (client: IssuerClient, params: URLSearchParams): Promise<Answer> {
    const spent = params.get('refresh_token')
    if (spent === null) throw new OAuthError('invalid_request', 'refresh_token is missing')
    const scope = scopeOf(params)
    const { grant, refreshToken, step } = families.rotate(spent, client.id)
    return await success(successor(step, { ...grant, scope }), scope, refreshToken)
  }

  async function clientCredentials (client: IssuerClient, params: URLSearchParams): Promise<Answer> {
    if (client.secret === undefined) throw new OAuthError('unauthorized_client', 'a public client has no grant of its own')
    const scope = scopeOf(params)
    return await success(accessToken({ subject: client.id, clientId: client.id, scope }), scope)
  }

  // RFC 8707 §2: a token that would be good at another resource than the one asked for must not be issued.
  function checkResource (params: URLSearchParams): void {
    const foreign = params.getAll('resource').some((resource) => resource !== audience())
    if (foreign) throw new OAuthError('invalid_target', 'tokens for this resource are not issued here')
  }

  // Two calls inside the grace period must get the same pair, also while the first one is still being signed.
  function successor (step: string, grant: Grant): AccessToken {
    for (const [old, { expiresAt }] of successors) {
      if (expiresAt > now()) break
      successors.delete(old)
    }
    const known = successors.get(step) ?? accessToken(grant)
    if (options.grace) successors.set(step, known)
    return known
  }

  function accessToken (grant: Grant): AccessToken {
    return { token: options.sign(grant), expiresAt: now() + options.lifetime * 1000 }
  }

  async function success ({ token, expiresAt }: AccessToken, scope: string, refreshToken?: string): Promise<Answer> {
    const body = {
      access_token: await token,
      token_type: 'Bearer',
      expires_in: Math.max(0, Math.round((expiresAt - now()) / 1000)),
      scope,
      ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    }
    return { status: 200, headers: NO_STORE, body }
  }

  return async (request) => await grant(request).catch(refusal)
}

/** @throws what is no OAuth error: that is the issuer's own failure, and no answer to a client */
export function refusal (error: unknown): Answer {
  if (!(error instanceof OAuthError)) throw error
  return { status: error.status, headers: { ...NO_STORE, ...error.headers }, body: { error: error.error, error_description: error.message } }
}

// RFC 6749 §3.2: parameters come form-encoded in the body, each of them once; `resource` alone may repeat (RFC 8707 §2).
function checkForm ({ contentType, params }: TokenRequest): void {
  const type = contentType?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded') throw new OAuthError('invalid_request', 'the body must be form-encoded')
  const names = [...params.keys()].filter((name) => name !== 'resource')
  if (new Set(names).size !== names.length) throw new OAuthError('invalid_request', 'a parameter is repeated')
}

// RFC 6749 §6: a refresh may narrow the scope and never widen it.
function scopeOf (params: URLSearchParams): string {
  const asked = params.get('scope') ?? SCOPE
  const wider = asked.split(' ').some((scope) => !SCOPE.split(' ').includes(scope))
  if (wider) throw new OAuthError('invalid_scope', `only ${SCOPE} can be granted`)
  return asked
}
