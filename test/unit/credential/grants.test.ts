import { inspect } from 'node:util'
import t from 'tap'
import { Credential } from '../../../src/credential/credential.js'
import type { CredentialConfig, RefreshTokenConfig } from '../../../src/config/config.js'
import { loadConfigText } from '../../../src/config/load.js'
import { authorizationServer } from '../../../src/credential/grants/authorization-server.js'
import { customGrant, type CredentialAnswer, type CredentialRequest } from '../../../src/credential/grants/custom.js'
import type { Grant, GrantError, Issued } from '../../../src/credential/grants/grant.js'
import { Grants } from '../../../src/credential/grants/index.js'
import { Issuers } from '../../../src/credential/grants/issuers.js'
import { askTokenEndpoint, retryAfter } from '../../../src/credential/grants/token-endpoint.js'
import { recordName } from '../../../src/credential/record.js'
import { Secret } from '../../../src/secret.js'
import { manualClock, settled, type ManualClock } from '../../helpers/manual-clock.js'
import { gate, mint, startTokenServer } from '../../helpers/tokens.js'

const now = (): number => Date.now()
const grantFor = (config: CredentialConfig, clock: ManualClock): Grant => new Grants(clock).of(config, { principal: 'alice', upstream: 'tools' })

t.test('row 15: an endpoint that does not answer in time is told, wherever it stops', async (t) => {
  const silent = await startTokenServer(t, () => 'hang')
  await t.rejects(askTokenEndpoint(silent.endpoint, {}, { now, patienceMs: 30 }), { name: 'GrantError', kind: 'unavailable', reason: 'the token endpoint did not answer within 0.03 s' })
  const halfway = await startTokenServer(t, () => ({ headers: { 'content-length': '1000' }, body: '{' }))
  await t.rejects(askTokenEndpoint(halfway.endpoint, {}, { now, patienceMs: 100, whom: 'it' }), { name: 'GrantError', message: /^it (did not answer|cannot be reached)/ })
})

t.test('row 15: an endpoint that cannot be reached is told by a code', async (t) => {
  const server = await startTokenServer(t, () => 'disconnect')
  await t.rejects(askTokenEndpoint(server.endpoint, {}, { now }), { name: 'GrantError', message: /cannot be reached \(ECONNRESET\)/ })
  await server.stop()
  await t.rejects(askTokenEndpoint(server.endpoint, {}, { now }), { name: 'GrantError', message: /cannot be reached \(ECONNREFUSED\)/ })
  await t.rejects(askTokenEndpoint('no url', {}, { now }), { name: 'GrantError', message: /cannot be reached \((ERR_INVALID_URL|connection failed)\)/ })
  for (const url of ['data:application/json,{}', `http://${mint()}@127.0.0.1:1/`, `http://:${mint()}@127.0.0.1:1/`]) {
    await t.rejects(askTokenEndpoint(url, {}, { now }), { name: 'GrantError', message: 'the token endpoint cannot be reached (connection failed)' })
  }
})

t.test('row 8: Retry-After is read as RFC 9110 writes it', async (t) => {
  t.equal(retryAfter(null, 0), undefined)
  t.equal(retryAfter(' 7 ', 0), 7_000)
  t.equal(retryAfter('-7', 1e12), 0)
  t.equal(retryAfter('99999999999999999999', 0), 300_000)
  t.equal(retryAfter('Thu, 01 Jan 1970 00:01:00 GMT', 30_000), 30_000)
  t.equal(retryAfter('later', 0), undefined)
})

t.test('row 9: a refusal ends the grant where the issuer has decided, in its own words too, and not where it is overloaded or has failed', async (t) => {
  for (const [status, error, kind] of [
    [400, 'invalid_grant', 'revoked'], [200, 'invalid_grant', 'revoked'], [401, 'invalid_grant', 'revoked'], [200, 'bad_refresh_token', 'revoked'],
    [429, 'invalid_grant', 'unavailable'], [500, 'invalid_grant', 'unavailable'], [503, 'bad_refresh_token', 'unavailable'], [400, 'invalid_client', 'unavailable'],
  ] as const) {
    const server = await startTokenServer(t, () => ({ status, headers: { 'retry-after': '7' }, body: { error } }))
    const thrown = await askTokenEndpoint(server.endpoint, {}, { now }).catch((reason: unknown) => reason)
    t.match(thrown, { kind, ...(kind === 'unavailable' ? { retryAfter: 7_000 } : {}) }, `${status} ${error}`)
  }
})

t.test('discovery: metadata that is none, and metadata of another issuer, are told apart, with what to do', async (t) => {
  const ANOTHER = { issuer: 'https://other.example', token_endpoint: 'https://other.example/token' }
  for (const [where, metadata, reason] of [
    [/./, { issuer: 5 }, /: its metadata is not what RFC 8414 asks for: check the issuer's URL, or name its token_endpoint instead$/],
    [/./, ANOTHER, /: its metadata names another issuer: name the issuer in the config as it names itself, to the letter$/],
    [/oauth-authorization-server/, ANOTHER, /: its metadata names another issuer: /],
    [/oauth-authorization-server/, { issuer: 5 }, /: its metadata is not what RFC 8414 asks for: /],
  ] as const) {
    const server = await startTokenServer(t, ({ path }) => where.test(path) ? { body: metadata } : { status: 404 })
    await t.rejects(authorizationServer({ tokenEndpoint: undefined, issuer: new URL(server.origin) } as never, new Issuers(manualClock())).known(), { name: 'GrantError', message: reason })
  }
})

t.test('json_refresh: a header that cannot be sent is named, and its value is not', async (t) => {
  const config = loadConfigText('upstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }\nprincipals: { alice: { credentials: { tools: { type: json_refresh, url: "http://127.0.0.1:1/r", headers: { X-App: { env: EURO } }, refresh_token: { env: EURO } } } } }', { env: { EURO: 'key€' } })
  const credential = config.principals.get('alice')?.credentials.get('tools') as CredentialConfig
  const error = await grantFor(credential, manualClock()).exchange({ accessToken: undefined, refreshToken: undefined }).catch((reason: unknown) => reason)
  t.match(error, { name: 'GrantError', message: /^the value of the header x-app cannot be sent: it holds characters beyond Latin-1/ })
  t.notMatch(String(error), /€/)
})

t.test('a credential prints as its fingerprint, whoever prints it', async (t) => {
  const token = mint()
  const credential = new Credential(new Secret(token), 3, 0, undefined)
  for (const text of [String(credential), JSON.stringify({ credential }), inspect(credential)]) {
    t.match(text, `[credential ${credential.fingerprint} generation 3]`)
    t.notOk(text.includes(token))
  }
})

t.test('no two pairs of principal and upstream share a record', async (t) => {
  t.not(recordName('credential', 'a/b', 'c'), recordName('credential', 'a', 'b/c'))
  t.not(recordName('credential', '漢'.repeat(256), 'c'), recordName('credential', '漢'.repeat(255), 'c'))
  t.ok(recordName('credential', '漢'.repeat(256), 'c').length < 1_978)
})

t.test('when a token expires that was put at run time is believed, where it does not say so itself', async (t) => {
  const clock = manualClock()
  const expiresAt = clock.now() + 90_000
  const ref = (text: string) => ({ source: 'put', read: async () => new Secret(text) })
  const NOTHING = { accessToken: undefined, refreshToken: undefined }
  const jwt = `e30.${Buffer.from(JSON.stringify({ exp: clock.now() / 1000 + 30 })).toString('base64url')}.c2ln`
  const exchange = async (more: object, token = mint()): Promise<number | undefined> => (await grantFor({ type: 'api_token', token: ref(token), ...more }, clock).exchange(NOTHING)).expiresAt
  t.equal(await exchange({ expiresAt }), expiresAt)
  t.equal(await exchange({ expiresAt }, jwt), clock.now() + 30_000, 'its own exp counts')
  t.equal(await exchange({}), undefined)
  const over = `e30.${Buffer.from(JSON.stringify({ exp: clock.now() / 1000 - 1 })).toString('base64url')}.c2ln`
  await t.rejects(exchange({}, over), { name: 'GrantError', kind: 'unavailable', message: 'put holds a token that has expired: put a new one there' }, 'with whom there is to ask')
  await t.rejects(exchange({ expiresAt: clock.now() }), { name: 'GrantError', dormant: true, message: 'the token that was put has expired, by the expires_in that came with it: put a new one' })

  const config: RefreshTokenConfig = {
    type: 'refresh_token', tokenEndpoint: undefined, issuer: undefined, clientId: undefined, clientSecret: undefined, clientAuth: 'none', scope: undefined, resource: 'https://r', refreshToken: ref('rt_1'), accessToken: ref('at_1'),
  }
  const seed = await grantFor({ ...config, accessTokenExpiresAt: expiresAt }, clock).seed()
  t.strictSame([seed.accessToken?.reveal(), seed.refreshToken?.reveal(), seed.expiresAt], ['at_1', 'rt_1', expiresAt])
  t.notOk('expiresAt' in await grantFor(config, clock).seed())
  t.strictSame(await grantFor({ ...config, accessToken: undefined, refreshToken: undefined }, clock).seed(), NOTHING)
  t.equal(grantFor(config, clock).asks, '', 'nobody knows yet where to ask')
  await t.rejects(grantFor(config, clock).exchange(await grantFor(config, clock).seed()), { name: 'GrantError', message: /^nobody has logged in yet/ })
})

const CUSTOM = { type: 'custom', name: 'own', options: undefined } as const

/** A credential type of one's own whose answers the test gives. */
function slowType (clock: ManualClock) {
  const asked: CredentialRequest[] = []
  const answers: Array<ReturnType<typeof gate<CredentialAnswer | Error>>> = []
  const own = async (request: CredentialRequest): Promise<CredentialAnswer> => {
    asked.push(request)
    const answer = gate<CredentialAnswer | Error>()
    answers.push(answer)
    const given = await answer.opened
    if (given instanceof Error) throw given
    return given
  }
  const grant = customGrant(CUSTOM, clock, { principal: 'alice', upstream: 'tools' }, { own })
  const exchange = async (refreshToken?: string): Promise<Issued | GrantError> =>
    await grant.exchange({ accessToken: undefined, refreshToken: refreshToken === undefined ? undefined : new Secret(refreshToken) }).catch((error: GrantError) => error)
  return { asked, answers, exchange }
}

t.test('P5: a credential type of one\'s own is not asked again while it is still at work, and its late answer counts', async (t) => {
  const clock = manualClock()
  const { asked, answers, exchange } = slowType(clock)
  const begun = clock.now()
  const first = exchange()
  await settled()
  await clock.advance(30_000)
  t.match(await first, { kind: 'unavailable', reason: 'the credential type own gave no answer within 30 s' })
  t.ok(asked[0]?.signal.aborted)
  const second = exchange()
  await settled()
  await clock.advance(30_000)
  t.match(await second, { kind: 'unavailable', reason: 'the credential type own is still at work on what it was asked before' })
  answers[0]?.open({ accessToken: 'late', refreshToken: 'rt_1', expiresIn: 3600 })
  await settled()
  const third = await exchange()
  t.equal(asked.length, 1)
  t.match(third, { obtainedAt: begun, expiresAt: begun + 3_600_000 }, 'it counts from when it was asked')
  t.equal((third as Issued).accessToken.reveal(), 'late')
  const fourth = exchange('rt_1')
  await settled()
  t.equal(asked.length, 2, 'and then it is asked anew')
  answers[1]?.open({ accessToken: 'next' })
  t.equal((await fourth as Issued).accessToken.reveal(), 'next')
})

t.test('P5: a credential type of one\'s own that fails late is asked anew', async (t) => {
  const clock = manualClock()
  const { asked, answers, exchange } = slowType(clock)
  const first = exchange()
  await settled()
  await clock.advance(30_000)
  await first
  answers[0]?.open(new Error('aborted'))
  await settled()
  const second = exchange()
  await settled()
  t.equal(asked.length, 2)
  answers[1]?.open({ accessToken: 'next' })
  t.equal((await second as Issued).accessToken.reveal(), 'next')
})

t.test('P5: what a credential type of one\'s own answers late to another refresh token than is held now is waited for and left aside', async (t) => {
  for (const late of [{ accessToken: 'late' }, new Error('aborted')]) {
    const clock = manualClock()
    const { asked, answers, exchange } = slowType(clock)
    const first = exchange('rt_1')
    await settled()
    await clock.advance(30_000)
    await first
    const second = exchange('rt_2')
    await settled()
    t.equal(asked.length, 1)
    answers[0]?.open(late)
    await settled()
    t.match(asked, [{ refreshToken: 'rt_1' }, { refreshToken: 'rt_2' }])
    answers[1]?.open({ accessToken: 'next' })
    t.equal((await second as Issued).accessToken.reveal(), 'next')
  }
})
