import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { decodeJwt } from 'jose'
import Provider, { errors } from 'oidc-provider'
import t, { type Test } from 'tap'
import { listen, shut } from '../../src/demo/http.js'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { call, errorCode } from '../helpers/call.js'
import { keyPair } from '../helpers/exchange-issuer.js'
import { manualClock, settled } from '../helpers/manual-clock.js'
import { startSidecar } from '../helpers/sidecar.js'
import { bearerOf } from '../helpers/tokens.js'
import { startUpstream, type Seen } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const refreshed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome === 'ok'
const SCOPE = 'tools:read tools:call'

interface Server { issuer: string, secret: string, keys: Record<string, string>, login (resource: string, client?: string): Promise<string>, logout (): Promise<void> }

const KEY_ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']
const PAIRS = await Promise.all(KEY_ALGORITHMS.map(async (alg) => await keyPair(alg)))

/** A certified authorization server on a free port, with rotating refresh tokens and JWTs for the resource that is asked for. */
async function startServer (t: Test): Promise<Server> {
  const http = createServer((request, response) => { void callback(request, response) })
  const issuer = await listen(http, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => await shut(http))
  const secret = randomBytes(24).toString('base64url')
  const known = { client_secret: secret, redirect_uris: [], response_types: [] }
  const provider = new Provider(issuer, {
    clients: [
      { ...known, client_id: 'basic', grant_types: ['client_credentials', 'refresh_token'], token_endpoint_auth_method: 'client_secret_basic' },
      { ...known, client_id: 'post', grant_types: ['client_credentials', 'refresh_token'], token_endpoint_auth_method: 'client_secret_post' },
      ...KEY_ALGORITHMS.map((alg, at) => ({
        client_id: alg,
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials', 'refresh_token'],
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: alg,
        jwks: { keys: [PAIRS[at]?.jwk] },
      })),
    ],
    // As the rules for the audience are now (draft-ietf-oauth-rfc7523bis), and as FAPI 2.0 has them.
    assertJwtClientAuthClaimsAndHeader: (_context: unknown, claims: { aud: unknown, iat: number, exp: number }) => {
      if (claims.aud !== issuer) throw new errors.InvalidClientAuth('the audience is not the issuer alone')
      if (claims.exp - claims.iat > 60) throw new errors.InvalidClientAuth('the assertion lives too long')
    },
    enabledJWA: { clientAuthSigningAlgValues: KEY_ALGORITHMS },
    findAccount: (_context: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
    rotateRefreshToken: true,
    scopes: ['openid', 'offline_access', ...SCOPE.split(' ')],
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => { throw new errors.InvalidTarget() },
        useGrantedResource: () => false,
        getResourceServerInfo: (_context: unknown, audience: string) => ({ scope: SCOPE, audience, accessTokenFormat: 'jwt', accessTokenTTL: 600, jwt: { sign: { alg: 'RS256' } } }),
      },
    },
  } as never)
  const callback = provider.callback()
  let grantId = ''
  return {
    issuer,
    secret,
    keys: Object.fromEntries(KEY_ALGORITHMS.map((alg, at) => [alg, PAIRS[at]?.pem as string])),
    async login (resource, clientId = 'basic') {
      const grant = new provider.Grant({ accountId: 'alice', clientId })
      grant.addOIDCScope('openid offline_access')
      grant.addResourceScope(resource, SCOPE)
      grantId = await grant.save()
      const client = await provider.Client.find(clientId)
      return await new provider.RefreshToken({ accountId: 'alice', client, grantId, gty: 'authorization_code', scope: `openid offline_access ${SCOPE}`, resource, rotations: 0 } as never).save()
    },
    async logout () { await (await provider.Grant.find(grantId))?.destroy() },
  }
}

/** Lets a call in whose token is a JWT of this issuer for this resource. */
async function startResource (t: Test, issuer: () => string) {
  const upstream = await startUpstream(t, (seen: Seen, response) => {
    const { iss, aud } = decodeJwt(bearerOf(seen) ?? '')
    response.writeHead(iss === issuer() && aud === `${upstream.origin}/mcp` ? 200 : 401)
    response.end('{}')
  })
  return upstream
}

t.test('a real authorization server: refresh_token by issuer, with rotation and a resource indicator', async (t) => {
  const server = await startServer(t)
  const upstream = await startResource(t, () => server.issuer)
  const RT = await server.login(`${upstream.origin}/mcp`)
  const clock = manualClock()
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
  alice: { credentials: { tools: { type: refresh_token, issuer: "${server.issuer}", client_id: basic, client_secret: { env: SECRET }, refresh_token: { env: RT }, scope: "${SCOPE}" } } }
`, { env: { RT, SECRET: server.secret }, clock })
  const key = await sidecar.keyFor('alice')
  for (let nth = 1; nth <= 3; nth++) {
    await sidecar.until(() => sidecar.events.filter(isRefresh).length >= nth)
    t.match(sidecar.events.filter(isRefresh)[nth - 1], { outcome: 'ok' })
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
    await settled()
    await clock.advance(480_000)
  }
  await sidecar.until(() => sidecar.events.filter(refreshed).length >= 4)
  const subjects = upstream.seen.map((seen) => decodeJwt(bearerOf(seen) as string))
  t.ok(subjects.every(({ sub, scope }) => sub === 'alice' && scope === SCOPE))
  t.equal(new Set(subjects.map(({ jti }) => jti)).size, 3)
})

t.test('a real authorization server: a grant that is over is told as revoked', async (t) => {
  const server = await startServer(t)
  const upstream = await startResource(t, () => server.issuer)
  const RT = await server.login(`${upstream.origin}/mcp`)
  await server.logout()
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
  alice: { credentials: { tools: { type: refresh_token, issuer: "${server.issuer}", client_id: basic, client_secret: { env: SECRET }, refresh_token: { env: RT } } } }
`, { env: { RT, SECRET: server.secret } })
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })), 'ERR_CREDENTIAL_REVOKED')
})

for (const client of ['basic', 'post']) {
  t.test(`a real authorization server: client_credentials with client_secret_${client}`, async (t) => {
    const server = await startServer(t)
    const upstream = await startResource(t, () => server.issuer)
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
  ci: { credentials: { tools: { type: client_credentials, issuer: "${server.issuer}", client_id: ${client}, client_secret: { env: SECRET }, client_auth: client_secret_${client}, scope: "tools:read" } } }
`, { env: { SECRET: server.secret } })
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('ci') })).status, 200)
    t.match(decodeJwt(bearerOf(upstream.seen[0]) as string), { client_id: client, scope: 'tools:read' })
    const refresh = sidecar.events.find(isRefresh)
    t.equal(refresh?.outcome, 'ok')
    // Of 600 s, a part of one has gone by when the token is issued in the middle of a second.
    t.ok([599, 600].includes(refresh?.expires_in as number), String(refresh?.expires_in))
  })
}

for (const alg of KEY_ALGORITHMS) {
  t.test(`a real authorization server: private_key_jwt with ${alg}, for client_credentials and refresh_token`, async (t) => {
    const server = await startServer(t)
    const upstream = await startResource(t, () => server.issuer)
    const RT = await server.login(`${upstream.origin}/mcp`, alg)
    const client = `issuer: "${server.issuer}", client_id: ${alg}, client_key: { env: KEY }, client_key_alg: ${alg}`
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
  ci: { credentials: { tools: { type: client_credentials, ${client}, scope: "tools:read" } } }
  alice: { credentials: { tools: { type: refresh_token, ${client}, refresh_token: { env: RT } } } }
`, { env: { KEY: server.keys[alg] as string, RT } })
    for (const principal of ['ci', 'alice']) t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor(principal) })).status, 200, principal)
    t.match(upstream.seen.map((seen) => decodeJwt(bearerOf(seen) as string)), [{ client_id: alg, scope: 'tools:read' }, { client_id: alg, sub: 'alice' }])
  })
}

t.test('a real authorization server: a key that belongs to another client is told as invalid_client', async (t) => {
  const server = await startServer(t)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }
principals:
  ci: { credentials: { tools: { type: client_credentials, issuer: "${server.issuer}", client_id: RS256, client_key: { env: KEY } } } }
`, { env: { KEY: server.keys.PS256 as string }, clock: manualClock() })
  t.match(await sidecar.until(isRefresh), { outcome: 'unavailable', reason: /HTTP 401 with invalid_client: check client_id, client_auth and client_secret or client_key$/ })
})

t.test('a real authorization server: a wrong client secret is told as invalid_client', async (t) => {
  const server = await startServer(t)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }
principals:
  ci: { credentials: { tools: { type: client_credentials, issuer: "${server.issuer}", client_id: basic, client_secret: { env: SECRET } } } }
`, { env: { SECRET: randomBytes(24).toString('base64url') }, clock: manualClock() })
  t.match(await sidecar.until(isRefresh), { outcome: 'unavailable', reason: /HTTP 401 with invalid_client: check client_id, client_auth and client_secret or client_key$/ })
})
