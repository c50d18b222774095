import { createSecretKey, randomBytes } from 'node:crypto'
import { exportSPKI, importJWK, SignJWT, type CryptoKey, type JWTPayload } from 'jose'
import t, { type Test } from 'tap'
import { Directory } from '../../../src/caller/directory.js'
import { identify, type Identity } from '../../../src/caller/identify.js'
import { JwtCallers } from '../../../src/caller/jwt.js'
import { IssuerKeys } from '../../../src/caller/jwt-keys.js'
import type { JwtCallersConfig } from '../../../src/config/jwt-config.js'
import type { Secret } from '../../../src/secret.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { compact, signingKey, startJwtIssuer, type JwtIssuer, type SignOptions } from '../../helpers/jwt-issuer.js'
import { manualClock, type ManualClock } from '../../helpers/manual-clock.js'
import { openSession } from '../../helpers/open-session.js'
import { eventually } from '../../helpers/peers.js'

interface Scene {
  readonly clock: ManualClock
  readonly issuer: JwtIssuer
  readonly callers: JwtCallers
  readonly events: ValetEvent[]
  /** What becomes of a token, told at once or later. */
  find (token: string, connection?: object): Promise<Identity>
}

async function scene (t: Test, config: Partial<JwtCallersConfig> = {}, { most, ...options }: { alg?: string, path?: string, most?: number } = {}): Promise<Scene> {
  const clock = manualClock()
  const issuer = await startJwtIssuer(t, { ...options, now: () => clock.now() })
  const events: ValetEvent[] = []
  const callers = new JwtCallers({
    issuer: issuer.url,
    audience: ['mcp-valet'],
    jwksUri: new URL(issuer.jwksUri),
    principalClaim: 'sub',
    agentClaim: undefined,
    algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
    clockToleranceMs: 30_000,
    ...config,
  }, clock, (event) => events.push(event), most)
  return {
    clock,
    issuer,
    callers,
    events,
    async find (token, connection) {
      const found = callers.find(token, connection)
      return found.kind === 'pending' ? await found.identity : found
    },
  }
}

const UNKNOWN = 'ERR_SESSION_UNKNOWN'
const EXPIRED = 'ERR_SESSION_EXPIRED'
const DOWN = 'ERR_ISSUER_UNAVAILABLE'
const MINUTE = 60_000
const code = (identity: Identity): string => identity.kind === 'refused' ? identity.code : identity.kind

for (const alg of ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519']) {
  t.test(`a JWT of the issuer, signed with ${alg}, is its subject`, async (t) => {
    const { issuer, find } = await scene(t, {}, { alg })
    const token = await issuer.sign()
    const identity = await find(token)
    t.match(identity, { kind: 'caller', caller: { principal: 'alice', agent: 'jwt', session: /^jwt_[\w-]{16}$/ } })
    const { subject } = (identity as { caller: { subject: { token: Secret, digest: string } } }).caller
    t.equal(subject.token.reveal(), token)
    t.match(subject.digest, /^[\w-]{43}$/)
    t.notMatch(JSON.stringify(identity), token, 'it prints as its fingerprint')
  })
}

t.test('the agent is the client that the token was issued to', async (t) => {
  const { issuer, find } = await scene(t)
  for (const [claims, agent] of [
    [{ azp: 'web', client_id: 'other' }, 'web'],
    [{ client_id: 'batch' }, 'batch'],
    [{}, 'jwt'],
  ] as const) t.match(await find(await issuer.sign(claims)), { caller: { agent } })
})

t.test('principal and agent come from the claims that the config names', async (t) => {
  const { issuer, find } = await scene(t, { principalClaim: 'https://x/user', agentClaim: '__proto__' })
  const named = JSON.parse('{"https://x/user":"ALICE é","__proto__":"a g","azp":"web"}') as JWTPayload
  t.match(await find(await issuer.sign(named)), { caller: { principal: 'ALICE é', agent: 'a g' } })
  t.match(await find(await issuer.sign({ 'https://x/user': 'alice', azp: 'web' })), { code: UNKNOWN, reason: 'its claim "__proto__" holds no usable name' })
})

for (const [what, claims, wanted, reason] of [
  ['a wrong audience', { aud: 'other' }, UNKNOWN, /aud/],
  ['an audience in another case', { aud: 'MCP-valet' }, UNKNOWN, /aud/],
  ['audiences without ours', { aud: ['a', 'b'] }, UNKNOWN, /aud/],
  ['no audience', { aud: undefined }, UNKNOWN, /aud/],
  ['an issuer with a slash more', { iss: 'URL/' }, UNKNOWN, /issuer/],
  ['no issuer', { iss: undefined }, UNKNOWN, /issuer/],
  ['an expiry that is past', { exp: -31 }, EXPIRED, /exp/],
  ['no expiry', { exp: undefined }, UNKNOWN, /no exp/],
  ['an expiry that is no number', { exp: 'never' as never }, UNKNOWN, /no exp/],
  ['a start that is not yet', { nbf: 31 }, UNKNOWN, /nbf/],
  ['a key to prove', { cnf: { jkt: 'x' } }, UNKNOWN, /cnf/],
  ['no subject', { sub: undefined }, UNKNOWN, /"sub"/],
  ['a subject that is no text', { sub: 7 as never }, UNKNOWN, /"sub"/],
  ['an empty subject', { sub: '' }, UNKNOWN, /"sub"/],
  ['a subject with a line break', { sub: 'alice\nbob' }, UNKNOWN, /"sub"/],
  ['a subject with space around it', { sub: ' alice' }, UNKNOWN, /"sub"/],
  ['a long subject', { sub: 'a'.repeat(257) }, UNKNOWN, /"sub"/],
  ['an agent that is no name', { azp: 'a\u0000b' }, UNKNOWN, /"azp"/],
  ['an agent that is no text', { azp: null, client_id: 'x' }, UNKNOWN, /"azp"/],
  ['a long agent', { client_id: 'a'.repeat(129) }, UNKNOWN, /"client_id"/],
] as const) {
  t.test(`a JWT with ${what} is refused`, async (t) => {
    const { clock, issuer, find } = await scene(t)
    const now = Math.floor(clock.now() / 1000)
    const real = Object.fromEntries(Object.entries(claims).map(([name, value]) => [name,
      (name === 'exp' || name === 'nbf') && typeof value === 'number' ? now + value : name === 'iss' && value !== undefined ? `${issuer.url}/` : value]))
    t.match(await find(await issuer.sign(real as JWTPayload)), { kind: 'refused', code: wanted, reason })
  })
}

t.test('clocks may differ by the tolerance, and by no more', async (t) => {
  const { clock, issuer, find } = await scene(t)
  const now = Math.floor(clock.now() / 1000)
  t.equal(code(await find(await issuer.sign({ exp: now - 29 }))), 'caller')
  t.equal(code(await find(await issuer.sign({ nbf: now + 30 }))), 'caller')
  t.equal(code(await find(await issuer.sign({ exp: now - 30 }))), EXPIRED)
  clock.jump(60 * MINUTE)
  t.equal(code(await find(await issuer.sign({ nbf: Math.floor(clock.now() / 1000) }))), 'caller', 'the time is the one that the sidecar was given')
})

for (const [typ, fits] of [[undefined, true], ['JWT', true], ['jwt', true], ['at+jwt', true], ['application/AT+JWT', true], ['logout+jwt', false], ['dpop+jwt', false], ['', false], [5, false]] as const) {
  t.test(`a JWT whose typ is ${String(typ)} is ${fits ? 'accepted' : 'refused'}`, async (t) => {
    const { issuer, find } = await scene(t)
    const identity = await find(await issuer.sign({}, { header: { typ } as SignOptions['header'] & object }))
    t.match(identity, fits ? { kind: 'caller' } : { code: UNKNOWN, reason: /typ/ })
  })
}

t.test('an algorithm that is not listed, or that needs no private key, is refused before anything is fetched', async (t) => {
  const { clock, issuer, find } = await scene(t, { algorithms: ['ES256'] })
  const claims = { iss: issuer.url, aud: 'mcp-valet', sub: 'alice', exp: Math.floor(clock.now() / 1000) + 300 }
  const published = await exportSPKI(await importJWK(issuer.keys[0] as object, 'ES256', { extractable: true }) as CryptoKey)
  const hmac = async (alg: string, secret: string): Promise<string> =>
    await new SignJWT(claims).setProtectedHeader({ alg, kid: issuer.keys[0]?.kid as string }).sign(createSecretKey(Buffer.from(secret)))
  const es384 = await signingKey('ES384', issuer.keys[0]?.kid as string)
  for (const token of [
    compact({ alg: 'none' }, claims),
    compact({ alg: 'NONE', typ: 'JWT' }, claims, 'x'),
    compact({}, claims, 'x'),
    compact({ alg: ['ES256'] }, claims, 'x'),
    await hmac('HS256', published),
    await hmac('HS512', JSON.stringify(issuer.keys[0])),
    await issuer.sign({}, { key: es384 }),
  ]) t.match(await find(token), { code: UNKNOWN, reason: /alg/ })
  t.equal(issuer.fetches, 0)
})

t.test('what is no JWT at all is refused before anything is fetched', async (t) => {
  const { issuer, find } = await scene(t)
  for (const token of ['a.b.c', '..', 'e30.e30.', compact({ alg: 'ES256' }, '[]', 'x'), compact({ alg: 'ES256' }, 'null', 'x'), compact({ alg: 'ES256' }, '{"iss"', 'x'), `${compact([], {})}x`]) {
    t.equal(code(await find(token)), UNKNOWN, token)
  }
  const huge = await issuer.sign({ blob: 'x'.repeat(13_000) })
  t.match(await find(huge), { code: UNKNOWN, reason: /longer than/ })
  t.equal(issuer.fetches, 0)
})

t.test('a signature by another key, or over other claims, is refused', async (t) => {
  const { issuer, find } = await scene(t)
  const stranger = await signingKey('ES256', issuer.keys[0]?.kid as string)
  t.match(await find(await issuer.sign({}, { key: stranger })), { code: UNKNOWN, reason: /signature/ })
  const [head, , signature] = (await issuer.sign()).split('.') as [string, string, string]
  const other = (await issuer.sign({ sub: 'bob' })).split('.')[1] as string
  t.match(await find(`${head}.${other}.${signature}`), { code: UNKNOWN, reason: /signature/ })
  t.match(await find(`${head}.${other}.`), { code: UNKNOWN })
})

t.test('a critical extension is refused, whether it is known to anybody or not', async (t) => {
  const { issuer, find } = await scene(t)
  t.match(await find(await issuer.sign({}, { header: { crit: ['urn:x'], 'urn:x': 1 } })), { code: UNKNOWN, reason: /not supported/ })
})

t.test('row 40: keys and addresses that a token brings along are neither used nor asked', async (t) => {
  const { issuer, find } = await scene(t)
  const evil = await startJwtIssuer(t)
  const stranger = await signingKey('ES256', issuer.keys[0]?.kid as string)
  evil.instead.set('/jwks', { keys: [stranger.jwk] })
  for (const header of [
    { jku: evil.jwksUri }, { x5u: `${evil.url}/x5u` }, { jwk: stranger.jwk as never }, { kid: evil.jwksUri, jku: evil.jwksUri },
    { kid: '../../../dev/null' }, { kid: "' or 1=1 --" }, { kid: 'x'.repeat(2_000) },
  ]) t.equal(code(await find(await issuer.sign({}, { key: stranger, header }))), UNKNOWN, Object.keys(header).join())
  t.same(evil.asked, [])
})

t.test('a token without a kid is tried with each key that fits, and a new one is looked for', async (t) => {
  const { clock, issuer, find } = await scene(t)
  const anonymous = { header: { kid: undefined as never } }
  t.equal(code(await find(await issuer.sign({}, anonymous))), 'caller')
  const second = await issuer.rotate()
  await issuer.rotate()
  await clock.advance(30_000)
  t.equal(code(await find(await issuer.sign({}, anonymous))), 'caller', 'after a bad signature the keys were fetched anew')
  t.equal(issuer.fetches, 2)
  t.equal(code(await find(await issuer.sign({}, { ...anonymous, key: await signingKey() }))), UNKNOWN, 'none of the three has made it')
  t.match(await find(await issuer.sign({ aud: 'other' }, { ...anonymous, key: second })), { code: UNKNOWN, reason: /aud/ }, 'a claim is a claim with any key')
  for (let i = 0; i < 3; i++) await issuer.rotate()
  await clock.advance(30_000)
  t.equal(code(await find(await issuer.sign({}, anonymous))), UNKNOWN, 'six keys are more than are tried')
})

t.test('a flood of unknown keys costs the issuer one request in a cool-down', async (t) => {
  const { clock, issuer, find } = await scene(t)
  await find(await issuer.sign())
  t.equal(issuer.fetches, 1)
  const junk = await signingKey()
  const flood = async (): Promise<void> => {
    const tokens = await Promise.all(Array.from({ length: 40 }, async (_, i) => await issuer.sign({}, { key: junk, header: { kid: `junk-${i}` } })))
    const codes = await Promise.all(tokens.map(async (token) => code(await find(token))))
    t.same(new Set(codes), new Set([UNKNOWN]))
  }
  await flood()
  t.equal(issuer.fetches, 1, 'the keys are new enough')
  await clock.advance(30_000)
  await flood()
  await flood()
  t.equal(issuer.fetches, 2)
})

t.test('a new key of the issuer is picked up at once where the keys are older than the cool-down, and after it where not', async (t) => {
  const { clock, issuer, find } = await scene(t)
  t.equal(code(await find(await issuer.sign())), 'caller')
  await issuer.rotate()
  const token = await issuer.sign()
  t.match(await find(token), { code: UNKNOWN, reason: /no key/ })
  await clock.advance(30_000)
  const many = await Promise.all(Array.from({ length: 20 }, async (_, i) => code(await find(await issuer.sign({ sub: `user-${i}` })))))
  t.same(new Set(many), new Set(['caller']), 'everybody who waited for the new key gets in')
  t.equal(code(await find(token)), 'caller')
  t.equal(issuer.fetches, 2)
})

t.test('a known caller costs no further look at keys, and a token that has expired is refused each time', async (t) => {
  const { clock, issuer, find, callers } = await scene(t)
  const connection = {}
  const token = await issuer.sign()
  const first = await find(token, connection)
  await issuer.stop()
  for (const at of [connection, {}, undefined]) t.equal(callers.find(token, at), first, 'told at once, by the connection or by the digest')
  await clock.advance(5 * MINUTE + 30_000 - 1)
  t.equal(code(await find(token, connection)), 'caller')
  await clock.advance(1)
  for (const at of [connection, {}, undefined]) t.same(callers.find(token, at), { kind: 'refused', code: EXPIRED, reason: 'it has expired (exp)' })
})

t.test('one connection may show one token after the other', async (t) => {
  const { issuer, find } = await scene(t)
  const connection = {}
  const tokens = await Promise.all(['alice', 'bob'].map(async (sub) => await issuer.sign({ sub })))
  for (const round of [1, 2, 3]) {
    for (const [i, principal] of ['alice', 'bob'].entries()) t.match(await find(tokens[i] as string, connection), { caller: { principal } }, `round ${round}`)
  }
})

t.test('a hundred first calls with one token are one caller', async (t) => {
  const { issuer, find } = await scene(t)
  const checks = t.capture(globalThis.crypto.subtle, 'verify', globalThis.crypto.subtle.verify.bind(globalThis.crypto.subtle))
  const token = await issuer.sign()
  const connections = Array.from({ length: 100 }, () => ({}))
  for (let round = 0; round < 3; round++) {
    const found = await Promise.all(connections.map(async (connection) => await find(token, connection)))
    t.equal(new Set(found).size, 1)
  }
  t.equal(checks().length, 1, 'and one signature check, then and later')
  t.equal(issuer.fetches, 1)
})

t.test('callers are remembered up to a bound; a connection remembers its own', async (t) => {
  const { clock, issuer, find, callers } = await scene(t, {}, { most: 2 })
  const [one, two] = [{}, {}]
  const exp = Math.floor(clock.now() / 1000) + 7200
  const tokens = await Promise.all(['a', 'b', 'c', 'd'].map(async (sub) => await issuer.sign({ sub, exp })))
  await find(tokens[0] as string, one)
  for (const token of tokens.slice(1)) await find(token, two)
  const again = callers.find(tokens[0] as string)
  t.equal(again.kind, 'pending')
  t.equal(callers.find(tokens[0] as string, one).kind, 'caller')
  // Or it would be remembered later than those that come now.
  if (again.kind === 'pending') await again.identity
  await find(tokens[1] as string)
  await find(tokens[2] as string)
  await clock.advance(11 * MINUTE)
  await issuer.stop()
  t.equal(code(await find(tokens[0] as string)), DOWN)
  t.equal(code(await find(tokens[0] as string, one)), 'caller', 'so an outage does not cost it its caller')
})

t.test('a known caller is refused once its key has been withdrawn', async (t) => {
  const { clock, issuer, find, callers } = await scene(t)
  const connection = {}
  const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 7200 })
  t.equal(code(await find(token, connection)), 'caller')
  issuer.keys.length = 0
  await issuer.rotate()
  t.equal(code(callers.find(token, connection) as Identity), 'caller', 'for some minutes nobody looks')
  await clock.advance(10 * MINUTE)
  t.equal(callers.find(token, connection).kind, 'pending')
  t.equal(code(await find(token, connection)), UNKNOWN)
  t.equal(code(await find(token)), UNKNOWN)
})

t.test('a known caller that was verified anew is fresh on each of its connections', async (t) => {
  const { clock, issuer, find, callers } = await scene(t)
  const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 7200 })
  const connections = [{}, {}]
  for (const connection of connections) await find(token, connection)
  await clock.advance(6 * MINUTE)
  const first = await find(token, connections[0])
  await clock.advance(4 * MINUTE)
  for (const connection of connections) t.equal(callers.find(token, connection), first)
})

t.test('while the keys cannot be had, known callers go on until their tokens expire, and new ones are told when to come back', async (t) => {
  const { clock, issuer, find, callers, events } = await scene(t)
  const connection = {}
  const lasting = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 3600 })
  await find(lasting, connection)
  await issuer.stop()
  await clock.advance(11 * MINUTE)
  t.match(await find(await issuer.sign({ sub: 'late' })), { code: DOWN, reason: /cannot be reached \(ECONNREFUSED\)/, retryAfter: 1 })
  t.equal(code(await find(lasting, connection)), 'caller')
  t.equal(callers.find(lasting, connection).kind, 'caller', 'it is not asked for again at each call')
  t.equal(callers.find(lasting).kind, 'caller')
  await clock.advance(11_000)
  t.equal(callers.find(lasting, connection).kind, 'pending')
  t.equal(code(await find(lasting, connection)), 'caller')
  await clock.advance(50 * MINUTE)
  t.equal(code(await find(lasting, connection)), EXPIRED)
  await issuer.start()
  await clock.advance(MINUTE)
  t.equal(code(await find(await issuer.sign({ sub: 'late' }))), 'caller')
  t.match(events[0], { event: 'warning', reason: /the keys of the issuer that callers\.jwt names cannot be had: its key set cannot be reached/ })
})

t.test('a known caller waits a moment only for an issuer that does not answer', async (t) => {
  const { clock, issuer, find, callers } = await scene(t)
  const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 3600 })
  await find(token)
  issuer.instead.set('/jwks', 'hang')
  await clock.advance(11 * MINUTE)
  const found = callers.find(token)
  t.equal(found.kind, 'pending')
  await clock.advance(1_000)
  t.equal(code(await (found as { identity: Promise<Identity> }).identity), 'caller')
  t.equal(callers.find(token).kind, 'caller')
})

t.test('an issuer that is down is asked once a back-off step, however many callers there are', async (t) => {
  const { clock, issuer, find, events } = await scene(t)
  issuer.instead.set('/jwks', { status: 503 })
  const tokens = await Promise.all(Array.from({ length: 20 }, async (_, i) => await issuer.sign({ sub: `user-${i}` })))
  const all = async (): Promise<Identity[]> => await Promise.all(tokens.map(async (token) => await find(token)))
  let waits = 0
  for (const [fetches, wait] of [[1, 1], [2, 2], [3, 4], [4, 8], [5, 16], [6, 30], [7, 30]] as const) {
    for (const identity of [...await all(), ...await all()]) t.match(identity, { code: DOWN, reason: 'its key set answered HTTP 503', retryAfter: wait })
    t.equal(issuer.fetches, fetches)
    await clock.advance(wait * 1_000)
    waits++
  }
  issuer.instead.clear()
  t.same(new Set((await all()).map(code)), new Set(['caller']))
  t.equal(issuer.fetches, waits + 1)
  t.equal(events.length, 3, 'the 1st, 2nd and 4th failure are told')
})

t.test('while a new key cannot be looked for, a token that may be signed with it is not refused for good', async (t) => {
  const { clock, issuer, find } = await scene(t)
  t.equal(code(await find(await issuer.sign())), 'caller')
  await issuer.rotate()
  const token = await issuer.sign()
  await clock.advance(31_000)
  await issuer.stop()
  t.match(await find(token), { code: DOWN, retryAfter: 1 })
  t.match(await find(token), { code: DOWN, retryAfter: 1 })
  await issuer.start()
  await clock.advance(1_000)
  t.equal(code(await find(token)), 'caller')
})

t.test('keys are looked for ahead of time, so that an outage of minutes is not noticed', async (t) => {
  const { clock, issuer, find, callers } = await scene(t)
  await callers.warm()
  await clock.advance(6 * MINUTE)
  const known = await issuer.sign()
  await issuer.rotate()
  t.equal(code(await find(known)), 'caller', 'nobody waits for that')
  await eventually(() => issuer.fetches === 2)
  t.equal(code(await find(await issuer.sign())), 'caller', 'but who needs it')
  await clock.advance(6 * MINUTE)
  await issuer.stop()
  t.equal(code(await find(await issuer.sign())), 'caller', 'the keys of six minutes ago are good enough')
})

t.test('warming up says early that the keys cannot be had, and nothing more', async (t) => {
  const { issuer, callers, events } = await scene(t)
  await issuer.stop()
  await callers.warm()
  t.match(events, [{ event: 'warning', reason: /cannot be had/ }])
})

t.test('newer keys are those that somebody else has fetched meanwhile, or are fetched now, unless that was a moment ago', async (t) => {
  const clock = manualClock()
  const issuer = await startJwtIssuer(t)
  const keys = new IssuerKeys({ issuer: issuer.url, jwksUri: new URL(issuer.jwksUri) }, clock, () => {})
  const old = await keys.current()
  t.equal(await keys.newerThan(old), undefined)
  await clock.advance(30_000)
  const newer = await keys.newerThan(old)
  t.not(newer, undefined)
  t.equal(await keys.newerThan(old), newer)
  t.equal(issuer.fetches, 2)
})

for (const [what, answer, reason] of [
  ['no JSON', { status: 200, text: '<html>' }, 'its key set is no JSON object'],
  ['a list', { status: 200, text: '[]' }, 'its key set is no JSON object'],
  ['no key set', { status: 200, text: '{"keys":5}' }, 'its key set is not what RFC 7517 asks for'],
  ['keys that are none', { status: 200, text: '{"keys":[null]}' }, 'its key set is not what RFC 7517 asks for'],
  ['too much', { status: 200, text: `{"keys":[],"x":"${'x'.repeat(300_000)}"}` }, 'its key set is larger than 256 KiB'],
  ['404', { status: 404 }, 'its key set answered HTTP 404'],
  ['a broken connection', 'disconnect', /^its key set cannot be reached \(/],
] as const) {
  t.test(`a key set that is ${what}: callers are told to come back`, async (t) => {
    const { issuer, find } = await scene(t)
    issuer.instead.set('/jwks', answer)
    t.match(await find(await issuer.sign()), { code: DOWN, reason })
  })
}

t.test('row 37: a key set that redirects is not followed', async (t) => {
  const { issuer, find } = await scene(t)
  const evil = await startJwtIssuer(t)
  issuer.instead.set('/jwks', { status: 302, headers: { location: evil.jwksUri } })
  t.match(await find(await issuer.sign()), { code: DOWN, reason: /HTTP 302, and a redirect is not followed/ })
  t.same(evil.asked, [])
})

t.test('a key that is of no use makes its tokens invalid, and no others', async (t) => {
  const { issuer, find } = await scene(t)
  const bad = await issuer.rotate()
  const good = await issuer.rotate()
  bad.jwk.x = 'AAAA'
  t.equal(code(await find(await issuer.sign({}, { key: bad }))), UNKNOWN)
  t.equal(code(await find(await issuer.sign({}, { key: good }))), 'caller')
  issuer.keys.push({ ...good.jwk, kid: 'secret', kty: 'oct', k: randomBytes(32).toString('base64url') })
  t.equal(code(await find(await issuer.sign({}, { key: good }))), 'caller')
})

for (const path of ['', '/realms/one', '/trailing/']) {
  t.test(`the keys of ${path === '' ? 'an issuer' : path} are found by its metadata`, async (t) => {
    const where = path.replace(/\/$/, '')
    const { clock, issuer, find } = await scene(t, { jwksUri: undefined, issuer: undefined as never }, { path }).then(async (made) => {
      const callers = new JwtCallers({
        issuer: made.issuer.url, audience: ['mcp-valet'], jwksUri: undefined, principalClaim: 'sub', agentClaim: undefined, algorithms: ['ES256'], clockToleranceMs: 0,
      }, made.clock, (event) => made.events.push(event))
      const find = async (token: string): Promise<Identity> => {
        const found = callers.find(token)
        return found.kind === 'pending' ? await found.identity : found
      }
      return { ...made, find }
    })
    const oauth = `/.well-known/oauth-authorization-server${where}`
    const oidc = `${where}/.well-known/openid-configuration`
    const metadata = { issuer: issuer.url, jwks_uri: issuer.jwksUri }
    const wait = async (): Promise<void> => await clock.advance(30_000)
    const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 36_000 })

    issuer.instead.set(oauth, { status: 404 })
    issuer.instead.set(oidc, { ...metadata, issuer: `${issuer.url}x` })
    t.match(await find(token), { code: DOWN, reason: /names another issuer/ })
    await wait()
    issuer.instead.set(oidc, { issuer: issuer.url })
    t.match(await find(token), { code: DOWN, reason: /names no jwks_uri/ })
    await wait()
    issuer.instead.set(oauth, { issuer: `${issuer.url}x` })
    issuer.instead.set(oidc, { status: 404 })
    t.match(await find(token), { code: DOWN, reason: /names another issuer/ }, 'a 404 beside it explains less')
    await wait()
    issuer.instead.set(oauth, { status: 404 })
    t.match(await find(token), { code: DOWN, reason: 'its metadata answered HTTP 404' })
    await wait()
    issuer.instead.set(oidc, metadata)
    t.equal(code(await find(token)), 'caller')
    t.same(issuer.asked.filter((target) => target !== '/jwks').slice(-2), [oauth, oidc])
    issuer.instead.set(oauth, metadata)
    await clock.advance(11 * MINUTE)
    t.equal(code(await find(token)), 'caller')
  })
}

t.test('what an identity is found by: session key, JWT, or a token of its own', async (t) => {
  const { clock, issuer, callers } = await scene(t)
  const directory = new Directory(createSecretKey(randomBytes(32)), clock)
  const key = openSession(directory, { principal: 'carol', agent: 'planner' }).key.reveal()
  const foreign = await (await startJwtIssuer(t)).sign()
  const ours = await issuer.sign()
  const lapsed = await issuer.sign({ aud: 'other' })
  const padded = `${ours}=`
  const alice = 'alice'
  for (const [what, headers, closed, relaying] of [
    ['a JWT as a bearer', { authorization: `Bearer ${ours}` }, alice, alice],
    ['a JWT as a bearer in another case', { authorization: `bEARER   ${ours} ` }, alice, alice],
    ['a JWT in the header of the session key', { 'x-session-key': ours }, alice, alice],
    ['a JWT there, beside a token of its own', { 'x-session-key': ours, authorization: 'Bearer own' }, alice, alice],
    ['a session key as a bearer', { authorization: `Bearer ${key}` }, 'carol', 'carol'],
    ['a session key beside a JWT', { 'x-session-key': key, authorization: `Bearer ${ours}` }, 'carol', 'carol'],
    ['a JWT that is not good any more', { authorization: `Bearer ${lapsed}` }, UNKNOWN, UNKNOWN],
    ['a JWT of another issuer', { authorization: `Bearer ${foreign}` }, UNKNOWN, 'own_token'],
    ['a JWT of another issuer in the header of the session key', { 'x-session-key': foreign }, UNKNOWN, UNKNOWN],
    ['a JWT as an API key', { 'x-api-key': ours }, UNKNOWN, UNKNOWN],
    ['a JWT as an API key, beside a token of its own', { 'x-api-key': ours, authorization: 'Bearer own' }, UNKNOWN, UNKNOWN],
    ['a JWT without a scheme', { authorization: ours }, UNKNOWN, UNKNOWN],
    ['a JWT with another scheme', { authorization: `DPoP ${ours}` }, UNKNOWN, UNKNOWN],
    ['a JWT and more', { authorization: `Bearer ${ours}, Bearer x` }, UNKNOWN, UNKNOWN],
    ['a JWT with padding', { authorization: `Bearer ${padded}` }, UNKNOWN, UNKNOWN],
    ['a token that is no JWT', { authorization: 'Bearer own' }, 'own_token', 'own_token'],
    ['a token with dots', { authorization: 'Bearer a.b.c.d' }, 'own_token', 'own_token'],
    ['an API key', { 'x-api-key': 'own' }, 'own_token', 'own_token'],
    ['nothing', {}, 'nobody', 'nobody'],
  ] as const) {
    for (const [relay, expected] of [[false, closed], [true, relaying]] as const) {
      const found = identify(headers, { keyHeader: 'x-session-key', keys: directory, jwts: callers, relay })
      const identity = found.kind === 'pending' ? await found.identity : found
      t.equal(identity.kind === 'caller' ? identity.caller.principal : code(identity), expected, `row 35: ${what}${relay ? ', relaying' : ''}`)
    }
  }
})

t.test('without callers.jwt a JWT is a token of the caller\'s own', async (t) => {
  const { clock, issuer } = await scene(t)
  const directory = new Directory(createSecretKey(randomBytes(32)), clock)
  const register = { keyHeader: 'x-session-key', keys: directory, jwts: undefined, relay: true }
  t.same(identify({ authorization: `Bearer ${await issuer.sign()}` }, register), { kind: 'own_token' })
  t.same(identify({ 'x-session-key': await issuer.sign() }, register), { kind: 'refused', code: UNKNOWN })
})
