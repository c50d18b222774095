import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { errors } from 'oidc-provider'
import type { Test } from 'tap'
import { listen, shut } from '../../src/demo/http.js'

export const TOOLS_SCOPE = 'tools:read tools:call'

export interface LoginServer {
  /** Without a slash at its end. */
  readonly issuer: string
  readonly jwksUri: string
  /** A client that is registered by hand, with its secret and any loopback port. */
  readonly client: { readonly id: string, readonly secret: string }
  /** Every refresh token that was issued and every access token that was signed, as far as the server keeps them. */
  readonly requests: Array<{ readonly method: string, readonly path: string, readonly body: string }>
}

export interface LoginServerOptions {
  /** Seconds that an access token lives. */
  readonly lifetime?: number
  /** Members over those of the usual configuration of oidc-provider; `features` are merged. */
  readonly configuration?: { readonly features?: object } & Readonly<Record<string, unknown>>
  /** The only resource that it knows; any other is refused as RFC 8707 has it. */
  readonly resource: () => string
}

/**
 * A certified authorization server with login and consent forms, PKCE, dynamic registration, resource indicators and
 * rotating refresh tokens.
 */
export async function startLoginServer (t: Test, options: LoginServerOptions): Promise<LoginServer> {
  const requests: LoginServer['requests'] = []
  const http = createServer((request, response) => {
    const entry = { method: request.method as string, path: request.url as string, body: '' }
    requests.push(entry)
    request.on('data', (chunk: Buffer) => { entry.body += chunk.toString() })
    void callback(request, response)
  })
  const issuer = await listen(http, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => await shut(http))
  const client = { id: 'agents', secret: randomBytes(24).toString('base64url') }
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const { features, ...more } = options.configuration ?? {}
  const provider = new Provider(issuer, {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    }],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    jwks: { keys: [{ ...await exportJWK(privateKey), kid: 'k1', use: 'sig', alg: 'ES256' }] },
    findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
    rotateRefreshToken: true,
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', ...TOOLS_SCOPE.split(' ')],
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => { throw new errors.InvalidTarget() },
        useGrantedResource: () => false,
        getResourceServerInfo (_context: unknown, audience: string) {
          if (audience !== options.resource()) throw new errors.InvalidTarget()
          return { scope: TOOLS_SCOPE, audience, accessTokenFormat: 'jwt', accessTokenTTL: options.lifetime ?? 600, jwt: { sign: { alg: 'ES256' } } }
        },
      },
      ...features,
    },
    ...more,
  } as never)
  const callback = provider.callback()
  return { issuer, jwksUri: `${issuer}/jwks`, client, requests }
}
