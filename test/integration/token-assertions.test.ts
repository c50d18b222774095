import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { loadConfigText } from '../../src/config/load.js'
import { Grants } from '../../src/credential/grants/index.js'
import type { Grant } from '../../src/credential/grants/grant.js'
import { Secret } from '../../src/secret.js'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { call, errorCode } from '../helpers/call.js'
import { keyPair, startExchangeIssuer } from '../helpers/exchange-issuer.js'
import { manualClock, settled, type ManualClock } from '../helpers/manual-clock.js'
import { startSidecar } from '../helpers/sidecar.js'
import { bearerOf, mint, oneUpstream, startTokenServer, type TokenAnswer } from '../helpers/tokens.js'
import { answerJson, startUpstream } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const refreshed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome === 'ok'
const failed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome !== 'ok'
const nowhere = 'http://127.0.0.1:1'
/** Callers whose JWTs there are to exchange; nobody asks for their keys before one calls. */
const JWTS = `callers: { jwt: { issuer: "${nowhere}", audience: mcp-valet } }\n`
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'
const NOTHING = { accessToken: undefined, refreshToken: undefined }

/** The grant of alice's credential at an upstream that nobody calls. */
function grantOf (credential: string, env: Record<string, string>, clock: ManualClock, subject?: Secret): Grant {
  const config = loadConfigText(JWTS + oneUpstream(nowhere, credential), { env }).principals.get('alice')?.credentials.get('tools')
  if (config === undefined) throw new Error('no credential')
  const grants = new Grants(clock)
  return config.type === 'token_exchange' ? grants.exchangesOf(config)(subject) : grants.of(config, { principal: 'alice', upstream: 'tools' })
}

async function reasonOf (t: Test, grant: Grant): Promise<string> {
  const error: unknown = await grant.exchange(NOTHING).then(() => undefined, (reason: unknown) => reason)
  t.match(error, { name: 'GrantError', kind: 'unavailable' })
  return (error as Error).message
}

t.test('private_key_jwt: an assertion for the issuer and nobody else, a new one each time, by a key that is read afresh', async (t) => {
  const clock = manualClock()
  const [first, second] = [await keyPair('PS256', 'k1'), await keyPair('PS256', 'k2')]
  const issuer = await startExchangeIssuer(t, { clock, clients: { agents: { keys: [first.jwk, second.jwk] } } })
  const env = { KEY: JSON.stringify(first.privateJwk) }
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: client_credentials, issuer: "${issuer.origin}", client_id: agents, client_key: { env: KEY }, scope: "tools:read" }`), { env, clock })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok', type: 'client_credentials', expires_in: 600 })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  t.match(await issuer.verify(bearerOf(upstream.seen[0]) as string, `${upstream.origin}/mcp`), { sub: 'agents', scope: 'tools:read' })
  env.KEY = JSON.stringify(second.privateJwk)
  await settled()
  await clock.advance(500_000)
  await sidecar.until(() => issuer.granted.length === 2)
  const assertions = issuer.granted.map((form) => form.get('client_assertion') as string)
  t.strictSame(assertions.map((jwt) => decodeProtectedHeader(jwt)), [{ alg: 'PS256', kid: 'k1' }, { alg: 'PS256', kid: 'k2' }])
  t.match(decodeJwt(assertions[0] as string), { iss: 'agents', sub: 'agents', aud: issuer.origin })
  t.notOk(issuer.granted.some((form) => form.has('client_secret')))
})

t.test('private_key_jwt: where only the token endpoint is known, the assertion is for that; and it serves refresh_token as well', async (t) => {
  const clock = manualClock()
  const key = await keyPair('EdDSA', 'named')
  const issuer = await startExchangeIssuer(t, { clock, clients: { agents: { keys: [key.jwk] } }, audience: (server) => server.endpoint })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, token_endpoint: "${issuer.endpoint}", client_id: agents, client_key: { env: KEY }, client_key_id: named }`), { env: { KEY: key.pem }, clock })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
  t.strictSame(decodeProtectedHeader(issuer.granted[0]?.get('client_assertion') as string), { alg: 'EdDSA', kid: 'named' })

  const grant = grantOf(`{ type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: agents, client_key: { env: KEY }, refresh_token: { env: RT } }`, { KEY: key.pem, RT: mint('rt') }, clock)
  t.match(await reasonOf(t, { ...grant, exchange: async () => await grant.exchange({ ...NOTHING, refreshToken: new Secret(mint('rt')) }) }), /HTTP 400 with unsupported_grant_type$/)
  t.strictSame(issuer.refused, ['refresh_token'], 'the client was known, before the grant was not')
})

t.test('private_key_jwt: a key that the issuer does not know, and one that is none', async (t) => {
  const clock = manualClock()
  const [known, other] = [await keyPair('ES256'), await keyPair('ES256')]
  const issuer = await startExchangeIssuer(t, { clock, clients: { agents: { keys: [known.jwk] } } })
  const credential = `{ type: client_credentials, issuer: "${issuer.origin}", client_id: agents, client_key: { env: KEY } }`
  t.match(await reasonOf(t, grantOf(credential, { KEY: other.pem }, clock)), /HTTP 401 with invalid_client: check client_id, client_auth and client_secret or client_key$/)
  t.equal(await reasonOf(t, grantOf(credential, { KEY: known.pem.slice(0, 80) }, clock)), 'env KEY is a private key that cannot be read: is it complete?')
  t.equal(await reasonOf(t, grantOf(credential, {}, clock)), 'the environment variable KEY is not set')
})

t.test('token_exchange: a configured subject, an actor and an audience', async (t) => {
  const clock = manualClock()
  const issuer = await startExchangeIssuer(t, { clock, clients: { agents: { secret: 's' } }, answer: { refresh_token: 'of no\r\nuse' } })
  const dir = t.testdir()
  const path = join(dir, 'subject')
  writeFileSync(path, await issuer.login('alice'), { mode: 0o600 })
  const env = { SECRET: 's', ACTOR: await issuer.login('valet') }
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: token_exchange, issuer: "${issuer.origin}", client_id: agents, client_secret: { env: SECRET }, subject_token: { file: "${path}" }, subject_token_type: jwt, actor_token: { env: ACTOR }, audience: tools, scope: "tools:call" }`), { env, clock })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok', type: 'token_exchange', expires_in: 600 })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  t.match(await issuer.verify(bearerOf(upstream.seen[0]) as string, 'tools'), { sub: 'alice', act: { sub: 'valet' }, client_id: 'agents', scope: 'tools:call' })
  t.match(Object.fromEntries(issuer.granted[0] ?? []), { subject_token_type: JWT_TYPE, actor_token_type: 'urn:ietf:params:oauth:token-type:access_token', audience: 'tools' })
  t.notOk(issuer.granted[0]?.has('resource'), 'a token for the audience alone')
  t.notOk(issuer.granted[0]?.has('requested_token_type'))

  writeFileSync(path, await issuer.login('alice2'), { mode: 0o600 })
  await settled()
  await clock.advance(500_000)
  await sidecar.until(() => issuer.granted.length === 2)
  t.equal(decodeJwt(issuer.granted[1]?.get('subject_token') as string).sub, 'alice2', 'the subject is read afresh, and the refresh token left aside')
})

t.test('token_exchange: the caller\'s own JWT is the subject where none is configured', async (t) => {
  const clock = manualClock()
  const issuer = await startExchangeIssuer(t, { clock })
  const credential = `{ type: token_exchange, issuer: "${issuer.origin}" }`
  const subject = new Secret(await issuer.login('bob'))
  const issued = await grantOf(credential, {}, clock, subject).exchange(NOTHING)
  t.match(await issuer.verify(issued.accessToken.reveal(), `${nowhere}/mcp`), { sub: 'bob' })
  t.equal(issued.expiresAt, clock.now() + 600_000)
  t.strictSame([...issuer.granted[0]?.keys() ?? []].sort(), ['grant_type', 'resource', 'subject_token', 'subject_token_type'], 'and nothing of a client that is none')

  const without = 'there is no token to exchange: the agent must present a JWT of its own (see callers.jwt), or the credential name a subject_token'
  t.equal(await reasonOf(t, grantOf(credential, {}, clock)), without)
  t.equal(issuer.requests.filter(({ path }) => path === '/token').length, 1)

  await clock.advance(700_000)
  t.equal(await reasonOf(t, grantOf(credential, {}, clock, subject)), 'the token endpoint answered HTTP 400 with invalid_request: it does not accept the caller\'s JWT, which may have expired')
  t.equal(await reasonOf(t, grantOf(`{ type: token_exchange, issuer: "${issuer.origin}", subject_token: { env: S } }`, { S: subject.reveal() }, clock)),
    'the token endpoint answered HTTP 400 with invalid_request: check subject_token, which may have expired, and subject_token_type')
  t.equal(await reasonOf(t, grantOf(`{ type: token_exchange, issuer: "${issuer.origin}", subject_token: { env: S } }`, {}, clock)), 'the environment variable S is not set')
  t.equal(await reasonOf(t, grantOf(`{ type: token_exchange, issuer: "${issuer.origin}", actor_token: { env: A } }`, {}, clock, subject)), 'the environment variable A is not set')
})

t.test('token_exchange: a configured subject counts, whoever calls', async (t) => {
  const clock = manualClock()
  const issuer = await startExchangeIssuer(t, { clock })
  const grant = grantOf(`{ type: token_exchange, issuer: "${issuer.origin}", subject_token: { env: S } }`, { S: await issuer.login('alice') }, clock, new Secret(await issuer.login('mallory')))
  t.equal(decodeJwt((await grant.exchange(NOTHING)).accessToken.reveal()).sub, 'alice')
  t.equal(grant.kept, false, 'nothing outlives a subject that is replaced')
})

for (const [what, config, answer, reason] of [
  ['of no named type', '', { issued_token_type: undefined }, undefined],
  ['that is a JWT', '', { issued_token_type: JWT_TYPE }, undefined],
  ['as it was asked for', ', requested_token_type: jwt', {}, undefined],
  ['that is no access token, but was asked for', ', requested_token_type: id_token', { token_type: 'N_A' }, undefined],
  ['of a type of the issuer\'s own, as it was asked for', ', requested_token_type: "urn:x:y"', {}, undefined],
  ['that is a refresh token', '', { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }, /of another type than was asked for \(issued_token_type\)$/],
  ['that is SAML', ', requested_token_type: jwt', { issued_token_type: 'urn:ietf:params:oauth:token-type:saml2' }, /of another type than was asked for/],
  ['of a type that is no text', '', { issued_token_type: 7 }, /of another type than was asked for/],
  ['that is no access token', '', { token_type: 'N_A' }, /not for use as a bearer token \(token_type\): ask for another requested_token_type$/],
  ['that is no access token, and not what was asked for', ', requested_token_type: id_token', { token_type: 'N_A', issued_token_type: JWT_TYPE }, /not for use as a bearer token/],
  ['that needs a proof of possession', '', { token_type: 'DPoP' }, /not for use as a bearer token/],
  ['of an unheard-of token_type', '', { token_type: 'pop' }, /RFC 6749 §5\.1/],
] as const) {
  t.test(`token_exchange: an answer with a token ${what}`, async (t) => {
    const clock = manualClock()
    const issuer = await startExchangeIssuer(t, { clock, answer })
    const grant = grantOf(`{ type: token_exchange, issuer: "${issuer.origin}"${config} }`, {}, clock, new Secret(await issuer.login('bob')))
    if (reason === undefined) t.equal((await grant.exchange(NOTHING)).refreshToken, undefined)
    else t.match(await reasonOf(t, grant), reason)
  })
}

t.test('a token that needs a proof of possession is of no use to any grant', async (t) => {
  const clock = manualClock()
  const server = await startTokenServer(t, (): TokenAnswer => ({ body: { access_token: mint(), token_type: 'DPoP' } }))
  const grant = grantOf(`{ type: client_credentials, token_endpoint: "${server.endpoint}", client_id: c, client_secret: { env: S } }`, { S: 's' }, clock)
  t.match(await reasonOf(t, grant), /of token_type Bearer$/)
})

t.test('jwt_bearer: an assertion that is made here', async (t) => {
  const clock = manualClock()
  const key = await keyPair('RS256', 'k')
  const issuer = await startExchangeIssuer(t, { clock, clients: { agents: { secret: 's' } }, trusted: { valet: [key.jwk], agents: [key.jwk] } })
  const env = { KEY: key.pem.trim().replaceAll('\n', '\\n'), SECRET: 's' }
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, `{ type: jwt_bearer, issuer: "${issuer.origin}", key: { env: KEY }, key_id: k, typ: x+jwt, claims: { iss: valet, sub: alice, tenant: { id: 7 } }, lifetime: 2m, scope: "tools:read" }`), { env, clock })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok', type: 'jwt_bearer', expires_in: 600 })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  t.match(await issuer.verify(bearerOf(upstream.seen[0]) as string, `${upstream.origin}/mcp`), { sub: 'alice', scope: 'tools:read' })
  const assertion = issuer.granted[0]?.get('assertion') as string
  t.strictSame(decodeProtectedHeader(assertion), { alg: 'RS256', typ: 'x+jwt', kid: 'k' })
  const claims = decodeJwt(assertion)
  t.match(claims, { aud: issuer.origin, tenant: { id: 7 }, jti: /^[0-9a-f-]{36}$/ })
  t.equal((claims.exp as number) - (claims.iat as number), 120)
  t.notOk(issuer.granted[0]?.has('client_id'))

  const byClient = grantOf(`{ type: jwt_bearer, token_endpoint: "${issuer.endpoint}", client_id: agents, client_secret: { env: SECRET }, key: { env: KEY }, claims: { sub: carol, aud: "${issuer.origin}" } }`, env, clock)
  t.match(decodeJwt((await byClient.exchange(NOTHING)).accessToken.reveal()), { sub: 'carol', client_id: 'agents' })
  t.equal(decodeJwt(issuer.granted[1]?.get('assertion') as string).iss, 'agents')

  const refused = /HTTP 400 with invalid_grant: check iss, sub and aud of the assertion, the key that the issuer knows, and this machine's clock$/
  t.match(await reasonOf(t, grantOf(`{ type: jwt_bearer, issuer: "${issuer.origin}", key: { env: KEY }, claims: { iss: nobody, sub: alice } }`, env, clock)), refused)
  t.match(await reasonOf(t, grantOf(`{ type: jwt_bearer, issuer: "${issuer.origin}", key: { env: KEY }, claims: { iss: valet } }`, env, clock)), refused)
})

t.test('jwt_bearer: an assertion that somebody else writes and replaces', async (t) => {
  const clock = manualClock()
  const key = await keyPair('ES256')
  const issuer = await startExchangeIssuer(t, { clock, trusted: { cluster: [key.jwk] } })
  const { importPKCS8 } = await import('jose')
  const path = join(t.testdir(), 'token')
  const project = async (sub: string, exp = '10m'): Promise<void> => {
    const jwt = await new SignJWT({}).setProtectedHeader({ alg: 'ES256' }).setIssuer('cluster').setSubject(sub).setAudience(issuer.origin).setIssuedAt().setExpirationTime(exp).setJti(mint()).sign(await importPKCS8(key.pem, 'ES256'))
    writeFileSync(path, jwt + '\n', { mode: 0o600 })
  }
  const credential = `{ type: jwt_bearer, issuer: "${issuer.origin}", assertion: { file: "${path}" } }`
  for (const sub of ['first', 'second']) {
    await project(sub)
    t.equal(decodeJwt((await grantOf(credential, {}, clock).exchange(NOTHING)).accessToken.reveal()).sub, sub)
  }
  await project('third', '-1m')
  t.match(await reasonOf(t, grantOf(credential, {}, clock)), /invalid_grant: check the assertion: its aud, whether it has expired, and whether the issuer trusts whoever signed it$/)
  t.match(await reasonOf(t, grantOf(credential.replace(path, `${path}x`), {}, clock)), /^there is no file /)
})

t.test('jwt_bearer and token_exchange: an invalid_grant ends nothing, since nobody could log in again', async (t) => {
  const clock = manualClock()
  const key = await keyPair('ES256')
  const issuer = await startExchangeIssuer(t, { clock, trusted: { valet: [key.jwk] }, instead: ({ path }, nth) => path === '/token' && nth <= 2 ? { status: 400, body: { error: 'invalid_grant' } } : undefined })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: jwt_bearer, issuer: "${issuer.origin}", key: { env: KEY }, claims: { iss: valet, sub: alice } }`), { env: { KEY: key.pem }, clock })
  t.match(await sidecar.until(failed), { outcome: 'unavailable' })
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
})

t.test('signed_jwt: a token that the upstream checks itself, renewed ahead, by a key that is read afresh', async (t) => {
  const clock = manualClock()
  const [first, second] = [await keyPair('ES256', 'k1'), await keyPair('ES256', 'k2')]
  let trusted = [first.jwk]
  const verdicts: string[] = []
  const upstream = await startUpstream(t, (seen, response) => {
    jwtVerify(bearerOf(seen) ?? '', createLocalJWKSet({ keys: trusted }), { issuer: 'valet', audience: 'tools', currentDate: new Date(clock.now()), typ: 'JWT' }).then(
      ({ payload }) => { verdicts.push(payload.sub as string); answerJson(seen, response) },
      () => { verdicts.push('no'); response.writeHead(401).end() }
    )
  })
  const env = { KEY: JSON.stringify(first.privateJwk) }
  const sidecar = await startSidecar(t, oneUpstream(upstream.origin, '{ type: signed_jwt, alg: ES256, key: { env: KEY }, claims: { iss: valet, sub: alice, aud: [tools] }, lifetime: 1m }'), { env, clock })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok', type: 'signed_jwt', expires_in: 60 })
  const key = await sidecar.keyFor('alice')
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  await settled()
  await clock.advance(46_000)
  await sidecar.until(() => sidecar.events.filter(refreshed).length === 2)
  t.match(sidecar.events.filter(refreshed)[1], { trigger: 'ahead' })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)

  env.KEY = JSON.stringify(second.privateJwk)
  trusted = [second.jwk]
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200, 'refused, made anew and replayed')
  t.strictSame(verdicts, ['alice', 'alice', 'no', 'alice'])
  const seen = upstream.seen.map((one) => bearerOf(one) as string)
  t.equal(new Set(seen.map((jwt) => decodeJwt(jwt).jti)).size, 3)
  t.strictSame(decodeProtectedHeader(seen[3] as string), { alg: 'ES256', typ: 'JWT', kid: 'k2' })

  env.KEY = 'no key'
  trusted = []
  const answer = call(`${sidecar.proxyUrl}/tools/mcp`, { key })
  await sidecar.until(failed)
  await settled()
  await clock.advance(60_000)
  t.equal(errorCode(await answer), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.match(sidecar.events.filter(failed).at(-1), { outcome: 'unavailable', reason: 'env KEY holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----) or a JWK' })
})

t.test('signed_jwt: with a shared secret', async (t) => {
  const clock = manualClock()
  const secret = mint('a shared secret of some length')
  const grant = grantOf('{ type: signed_jwt, alg: HS256, key: { env: KEY } }', { KEY: `${secret}\n` }, clock)
  const { accessToken, obtainedAt, expiresAt } = await grant.exchange(NOTHING)
  const { payload } = await jwtVerify(accessToken.reveal(), Buffer.from(secret), { currentDate: new Date(clock.now()) })
  t.strictSame([obtainedAt, expiresAt], [clock.now(), clock.now() + 600_000])
  t.equal(payload.exp, (expiresAt as number) / 1000)
  t.equal(await reasonOf(t, grantOf('{ type: signed_jwt, alg: HS512, key: { env: KEY } }', { KEY: 'short' }, clock)), 'env KEY is too short for HS512: it must have at least 64 bytes (RFC 7518)')
})

t.test('refresh_token: as long as nobody has logged in, the reason says what to do', async (t) => {
  const clock = manualClock()
  for (const credential of ['{ type: refresh_token }', '{ type: refresh_token, client_id: c }', '{ type: refresh_token, issuer: "https://id.example" }', '{ type: refresh_token, issuer: "https://id.example", client_id: c }']) {
    const sidecar = await startSidecar(t, oneUpstream(nowhere, credential), { clock })
    t.match(await sidecar.until(isRefresh), { outcome: 'unavailable', reason: /^nobody has logged in yet: run mcp-valet login --principal … --upstream …/ })
  }
})
