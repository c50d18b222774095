import { randomBytes } from 'node:crypto'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import t, { type Test } from 'tap'
import { createIssuer, type Issuer, type IssuerOptions } from '../../../src/demo/issuer.js'

const AUDIENCE = 'http://mcp.example/mcp'

async function start (t: Test, options: Partial<IssuerOptions> = {}): Promise<Issuer> {
  const issuer = await createIssuer({ audience: AUDIENCE, ...options })
  t.teardown(async () => await issuer.close())
  return issuer
}

async function ask (issuer: Issuer, params: Record<string, string> | string | URLSearchParams, headers: Record<string, string> = {}) {
  const body = new URLSearchParams(params).toString()
  const type = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const res = await fetch(issuer.tokenEndpoint, { method: 'POST', headers: { ...type, ...headers }, body })
  const answer = await res.json() as Record<string, string>
  return { status: res.status, headers: res.headers, ...answer } as any
}

async function refresh (issuer: Issuer, token: string, more: Record<string, string> = {}) {
  return await ask(issuer, { grant_type: 'refresh_token', client_id: 'demo', refresh_token: token, ...more })
}

function confidential () {
  return { id: 'agents', secret: randomBytes(16).toString('base64url') + '%+:' }
}

function basic (id: string, secret: string): Record<string, string> {
  const pair = [id, secret].map((half) => encodeURIComponent(half)).join(':')
  return { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

t.test('a login gives a token that its published keys verify', async (t) => {
  const issuer = await start(t)
  const { access_token: token, expires_in: expiresIn } = await issuer.login('alice')
  const keys = createRemoteJWKSet(new URL(issuer.jwksUri))
  const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer: issuer.url, audience: AUDIENCE, typ: 'at+jwt' })
  t.match(payload, { sub: 'alice', client_id: 'demo', scope: 'tools:read tools:call', jti: String })
  t.equal(payload.exp! - payload.iat!, expiresIn)
  t.equal(protectedHeader.alg, 'ES256')
  t.notMatch(JSON.stringify(issuer.jwks), /"d":/, 'the private half stays inside')
})

t.test('discovery names what there is (RFC 8414)', async (t) => {
  const issuer = await start(t)
  const res = await fetch(`${issuer.url}/.well-known/oauth-authorization-server`)
  t.match(await res.json(), {
    issuer: issuer.url,
    token_endpoint: issuer.tokenEndpoint,
    jwks_uri: issuer.jwksUri,
    grant_types_supported: ['refresh_token', 'client_credentials'],
    response_types_supported: [],
  })
})

t.test('an issuer behind another name says that name', async (t) => {
  const issuer = await createIssuer({ audience: AUDIENCE, url: 'https://id.example' })
  t.teardown(async () => await issuer.close())
  t.equal(issuer.tokenEndpoint, 'https://id.example/token')
})

t.test('an issuer listens on IPv6 as well', async (t) => {
  const issuer = await start(t, { host: '::1' })
  t.match(issuer.url, /^http:\/\/\[::1\]:\d+$/)
  t.equal((await fetch(`${issuer.url}/healthz`)).status, 200)
})

t.test('other paths and methods', async (t) => {
  const issuer = await start(t)
  const status = async (path: string, method = 'GET') => (await fetch(issuer.url + path, { method })).status
  t.equal(await status('/authorize'), 404)
  t.equal(await status('/token'), 405)
  t.equal(await status('/jwks', 'DELETE'), 405)
  t.equal(await status('/jwks?x=1'), 200)
})

t.test('each refresh rotates the refresh token', async (t) => {
  const issuer = await start(t)
  const first = await issuer.login('alice')
  const second = await refresh(issuer, first.refresh_token)
  t.match(second, { status: 200, token_type: 'Bearer', scope: 'tools:read tools:call', expires_in: 15 })
  t.equal(second.headers.get('cache-control'), 'no-store')
  t.not(second.refresh_token, first.refresh_token)
  t.not(second.access_token, first.access_token)

  const third = await refresh(issuer, second.refresh_token)
  t.equal(third.status, 200)
  t.match(issuer.requests, { refresh_token: { ok: 2, refused: 0 } })
})

t.test('a refresh token used twice ends its whole family, and no other', async (t) => {
  const issuer = await start(t)
  const stolen = await issuer.login('alice')
  const other = await issuer.login('alice')
  const successor = await refresh(issuer, stolen.refresh_token)

  t.match(await refresh(issuer, stolen.refresh_token), { status: 400, error: 'invalid_grant' })
  t.match(await refresh(issuer, successor.refresh_token), { status: 400, error: 'invalid_grant' })
  t.equal((await refresh(issuer, other.refresh_token)).status, 200)
  t.same(issuer.families, { active: 1, revoked: 1 })
  t.match(issuer.requests, { refresh_token: { ok: 2, refused: 2 } })
})

t.test('of two refreshes at the same moment one wins and the family ends', async (t) => {
  const issuer = await start(t)
  const { refresh_token: token } = await issuer.login('alice')
  const answers = await Promise.all([refresh(issuer, token), refresh(issuer, token)])
  t.same(answers.map(({ status }) => status).sort(), [200, 400])
  t.equal(issuer.families.revoked, 1)
})

t.test('inside the grace period the last token gives the same pair again', async (t) => {
  let now = Date.now()
  const issuer = await start(t, { graceSeconds: 5, now: () => now })
  const { refresh_token: token } = await issuer.login('alice')
  const [a, b] = await Promise.all([refresh(issuer, token), refresh(issuer, token)])
  t.equal(a.access_token, b.access_token)
  t.equal(a.refresh_token, b.refresh_token)

  now += 4000
  const late = await refresh(issuer, token)
  t.equal(late.refresh_token, a.refresh_token)
  t.equal(late.expires_in, 11, 'what is left of the token that was given first')

  const next = await refresh(issuer, a.refresh_token)
  t.equal(next.status, 200)
  t.match(await refresh(issuer, token), { error: 'invalid_grant' }, 'a token two generations old has no grace')
})

t.test('after the grace period it is reuse', async (t) => {
  let now = Date.now()
  const issuer = await start(t, { graceSeconds: 5, now: () => now })
  const { refresh_token: token } = await issuer.login('alice')
  await refresh(issuer, token)
  now += 16_000
  t.match(await refresh(issuer, token), { error: 'invalid_grant' })
  t.equal(issuer.families.revoked, 1)
})

t.test('pairs kept for the grace period are dropped with their token', async (t) => {
  let now = Date.now()
  const issuer = await start(t, { graceSeconds: 60, lifetime: 5, now: () => now })
  const { refresh_token: token } = await issuer.login('alice')
  const first = await refresh(issuer, token)
  now += 6000
  const again = await refresh(issuer, token)
  t.equal(again.refresh_token, first.refresh_token)
  t.not(again.access_token, first.access_token, 'an expired access token is not given out again')
})

t.test('a family that nobody refreshes is forgotten', async (t) => {
  let now = Date.now()
  const issuer = await start(t, { now: () => now })
  const { refresh_token: token } = await issuer.login('alice')
  t.same(issuer.families, { active: 1, revoked: 0 })
  now += 25 * 60 * 60 * 1000
  t.match(await refresh(issuer, token), { error: 'invalid_grant' })
  t.same(issuer.families, { active: 0, revoked: 0 })
})

t.test('a subject\'s families can be revoked', async (t) => {
  const issuer = await start(t)
  const alice = await issuer.login('alice')
  const bob = await issuer.login('bob')
  issuer.revoke('alice')
  t.match(await refresh(issuer, alice.refresh_token), { error: 'invalid_grant' })
  t.equal((await refresh(issuer, bob.refresh_token)).status, 200)
})

t.test('refresh tokens that were never issued', async (t) => {
  const issuer = await start(t)
  const { refresh_token: token } = await issuer.login('alice')
  for (const forged of ['', 'x', token + 'x', token.slice(0, -2), token.replace('.0.', '.1.'), token.replace('.0.', '.00.')]) {
    t.match(await refresh(issuer, forged), { status: 400, error: 'invalid_grant' })
  }
  t.equal(issuer.families.revoked, 0, 'a forgery is no reuse: it must not end the family')
})

t.test('a refresh token is good for its own client only', async (t) => {
  const issuer = await start(t, { clients: [{ id: 'demo' }, { id: 'other' }] })
  const { refresh_token: token } = await issuer.login('alice')
  t.match(await refresh(issuer, token, { client_id: 'other' }), { error: 'invalid_grant' })
  t.equal((await refresh(issuer, token)).status, 200)
})

t.test('client credentials by Basic and by post', async (t) => {
  const client = confidential()
  const issuer = await start(t, { clients: [client], lifetime: 30 })
  const byBasic = await ask(issuer, { grant_type: 'client_credentials' }, basic(client.id, client.secret))
  const byPost = await ask(issuer, { grant_type: 'client_credentials', client_id: client.id, client_secret: client.secret, scope: 'tools:read' })
  t.match(byBasic, { status: 200, expires_in: 30, scope: 'tools:read tools:call' })
  t.match(byPost, { status: 200, scope: 'tools:read' })
  t.notOk('refresh_token' in byBasic, 'RFC 6749 §4.4.3')
  t.match(issuer.requests, { client_credentials: { ok: 2, refused: 0 } })
})

t.test('clients that do not authenticate', async (t) => {
  const client = confidential()
  const issuer = await start(t, { clients: [client] })
  const grant = { grant_type: 'client_credentials' }
  const challenged = await ask(issuer, grant, basic(client.id, 'wrong'))
  t.match(challenged, { status: 401, error: 'invalid_client' })
  t.match(challenged.headers.get('www-authenticate'), /^Basic /)

  t.match(await ask(issuer, grant, basic('nobody', '')), { status: 401, error: 'invalid_client' })
  t.match(await ask(issuer, grant, { Authorization: 'Basic ' + Buffer.from('%:%').toString('base64') }), { error: 'invalid_client' })
  t.match(await ask(issuer, grant, { Authorization: 'Bearer x' }), { error: 'invalid_client' })
  t.match(await ask(issuer, grant), { status: 401, error: 'invalid_client' })
  t.match(await ask(issuer, { ...grant, client_id: client.id }), { status: 401, error: 'invalid_client' })

  const both = await ask(issuer, { ...grant, client_secret: client.secret }, basic(client.id, client.secret))
  t.match(both, { status: 400, error: 'invalid_request' })
  t.equal(issuer.requests.client_credentials.ok, 0)
})

t.test('a public client has no client credentials grant', async (t) => {
  const issuer = await start(t)
  t.match(await ask(issuer, { grant_type: 'client_credentials', client_id: 'demo' }), { status: 400, error: 'unauthorized_client' })
})

t.test('the resource must be the audience (RFC 8707)', async (t) => {
  let audience = AUDIENCE
  const issuer = await start(t, { audience: () => audience })
  const { refresh_token: token } = await issuer.login('alice')
  t.match(await refresh(issuer, token, { resource: 'http://other.example/mcp' }), { status: 400, error: 'invalid_target' })
  const second = await refresh(issuer, token, { resource: AUDIENCE })
  t.equal(second.status, 200, 'the refused call has not spent the token')

  audience = 'http://moved.example/mcp'
  const two = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'demo', refresh_token: second.refresh_token })
  two.append('resource', audience)
  two.append('resource', AUDIENCE)
  t.match(await ask(issuer, two), { error: 'invalid_target' }, 'every one of them must be')
})

t.test('a refresh may narrow the scope and not widen it', async (t) => {
  const issuer = await start(t)
  const { refresh_token: token } = await issuer.login('alice')
  t.match(await refresh(issuer, token, { scope: 'tools:read admin' }), { status: 400, error: 'invalid_scope' })
  t.match(await refresh(issuer, token, { scope: 'tools:read' }), { status: 200, scope: 'tools:read' })
})

t.test('malformed requests', async (t) => {
  const issuer = await start(t)
  t.match(await ask(issuer, { client_id: 'demo' }), { status: 400, error: 'invalid_request' })
  t.match(await ask(issuer, { client_id: 'demo', grant_type: 'password' }), { status: 400, error: 'unsupported_grant_type' })
  t.match(await ask(issuer, { client_id: 'demo', grant_type: 'refresh_token' }), { status: 400, error: 'invalid_request' })
  t.match(await ask(issuer, 'client_id=demo&client_id=demo&grant_type=refresh_token'), { status: 400, error: 'invalid_request' })
  t.match(await ask(issuer, '{}', { 'Content-Type': 'application/json' }), { status: 400, error: 'invalid_request' })
  t.same(issuer.requests.other, { ok: 0, refused: 3 })

  const untyped = await fetch(issuer.tokenEndpoint, { method: 'POST' })
  t.equal(untyped.status, 400)
})

t.test('a body over 64 KiB is refused unread', async (t) => {
  const issuer = await start(t)
  const answer = await ask(issuer, { grant_type: 'refresh_token', padding: 'x'.repeat(64 * 1024) })
  t.match(answer, { status: 413, error: 'invalid_request' })
  t.same(issuer.requests.refresh_token, { ok: 0, refused: 0 })
})

t.test('tokens to test refusals with', async (t) => {
  const issuer = await start(t)
  const token = await issuer.mint('alice', { aud: 'elsewhere' })
  await t.rejects(jwtVerify(token, createRemoteJWKSet(new URL(issuer.jwksUri)), { audience: AUDIENCE }), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' })
})

t.test('a hook may look, answer in place of the issuer, lose the answer, or break', async (t) => {
  const hooks: Array<IssuerOptions['onTokenRequest']> = [
    () => undefined,
    async () => ({ status: 503, headers: { 'Retry-After': '1' }, body: { error: 'temporarily_unavailable' } }),
    async (_params, next) => { await next(); return 'disconnect' as const },
    () => { throw new Error('broken') },
  ]
  const issuer = await start(t, { onTokenRequest: async (params, next) => await hooks.shift()?.(params, next) })
  const first = await issuer.login('alice')
  const second = await refresh(issuer, first.refresh_token)
  t.equal(second.status, 200)

  const unavailable = await refresh(issuer, second.refresh_token)
  t.equal(unavailable.status, 503)
  t.equal(unavailable.headers.get('retry-after'), '1')

  await t.rejects(refresh(issuer, second.refresh_token), 'the answer is lost')
  await t.rejects(refresh(issuer, second.refresh_token), 'the issuer breaks')
  t.match(await refresh(issuer, second.refresh_token), { error: 'invalid_grant' }, 'the lost answer had spent the token')
  t.same(issuer.requests.refresh_token, { ok: 1, refused: 3 })
})

t.test('an audience that cannot be read closes the connection', async (t) => {
  const issuer = await start(t, { audience: () => { throw new Error('not started') } })
  await t.rejects(refresh(issuer, 'rt', { resource: AUDIENCE }))
})

t.test('closing cuts open connections, and a taken port is an error', async (t) => {
  const issuer = await createIssuer({ audience: AUDIENCE })
  await fetch(`${issuer.url}/healthz`)
  const port = Number(new URL(issuer.url).port)
  await t.rejects(createIssuer({ audience: AUDIENCE, port }), { code: 'EADDRINUSE' })
  await issuer.close()
  await t.rejects(fetch(`${issuer.url}/healthz`))
})
