import t from 'tap'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { call } from '../helpers/call.js'
import { manualClock, settled } from '../helpers/manual-clock.js'
import { startSidecar } from '../helpers/sidecar.js'
import { bearerOf, byRefreshToken, mint, oneUpstream, startOpaqueIssuer, startTokenServer, type TokenAnswer } from '../helpers/tokens.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const refreshed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome === 'ok'
const failed = (event: ValetEvent): event is RefreshEvent => isRefresh(event) && event.outcome !== 'ok'
const nowhere = 'http://127.0.0.1:1'
const granted = (more: object = {}): TokenAnswer => ({ body: { access_token: mint(), token_type: 'Bearer', expires_in: 600, ...more } })

for (const [what, answer, reason] of [
  ['no JSON', { body: 'access_token=x' }, /HTTP 200 with something that is no JSON object$/],
  ['a JSON array', { body: [] }, /no JSON object$/],
  ['an answer that is larger than 256 KiB', { body: { access_token: 'x'.repeat(300_000), token_type: 'Bearer' } }, /larger than 256 KiB$/],
  ['an access token with CR and LF', granted({ access_token: 'a\r\nX-Evil: 1' }), /no usable token/],
  ['an access token with a space', granted({ access_token: 'a b' }), /no usable token/],
  ['an access token that is too long', granted({ access_token: 'x'.repeat(12 * 1024 + 1) }), /no usable token/],
  ['an access token that is no string', granted({ access_token: 7 }), /RFC 6749 §5\.1 asks for: it must hold an access_token, which is a string$/],
  ['no access token', { body: { token_type: 'Bearer' } }, /RFC 6749 §5\.1 asks for: it must hold an access_token/],
  ['a token_type that is no string', granted({ token_type: ['Bearer'] }), /asks for: it must be of token_type Bearer$/],
  ['a refresh token that is no string', granted({ refresh_token: 12345 }), /no usable refresh token/],
  ['a token of a type that is no bearer token', granted({ token_type: 'mac' }), /token_type Bearer/],
  ['a refresh token with CR and LF', granted({ refresh_token: 'a\r\nb' }), /no usable refresh token/],
  ['a 404', { status: 404 }, /HTTP 404 with no OAuth error: check its URL$/],
  ['invalid_target', { status: 400, body: { error: 'invalid_target', error_description: mint() } }, /with invalid_target: set resource to what the issuer knows, or to none; an audience must be one that it knows, too$/],
  ['invalid_scope', { status: 400, body: { error: 'invalid_scope', error_description: mint() } }, /with invalid_scope: check scope, resource and audience$/],
] as const) {
  t.test(`row 15: ${what} is refused, and told without a word of the answer`, async (t) => {
    const server = await startTokenServer(t, () => answer)
    const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') }, clock: manualClock() })
    const event = await sidecar.until(failed)
    t.match(event, { outcome: 'unavailable', reason })
    t.notMatch(JSON.stringify(event), /Evil|xxxx|at_/)
  })
}

for (const [what, more] of [
  ['without a token_type', { token_type: undefined }],
  ['with an id_token that is none', { id_token: 'no.id.token' }],
  ['with empty members', { scope: null, refresh_token: null, expires_in: null, token_type: null }],
  ['with a lifetime in a string', { expires_in: '600' }],
  ['whose lifetime is a text', { expires_in: '1 hour' }],
  ['whose lifetime is a list', { expires_in: [3600] }],
  ['whose scope is a list', { scope: ['chat:read', 'channel:bot'] }],
  ['whose scope is a number', { scope: 5 }],
  ['with an id_token that is a number', { id_token: 5 }],
] as const) {
  t.test(`an answer ${what} is taken`, async (t) => {
    const server = await startTokenServer(t, () => granted(more))
    const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') } })
    t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
  })
}

for (const [what, body] of [
  ['whose lifetime is larger than any number', (json: string) => json.replace('600', '1e400')],
  ['with a byte order mark', (json: string) => `\ufeff${json}`],
] as const) {
  t.test(`row 10: an answer ${what} is taken, as its refresh token has replaced the one before`, async (t) => {
    const issuer = await startOpaqueIssuer(t, { instead: (nth) => nth > 1 ? undefined : { body: body(JSON.stringify({ access_token: mint(), token_type: 'Bearer', expires_in: 600, refresh_token: issuer.seed })) } })
    const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock: manualClock() })
    t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
  })
}

t.test('an answer with HTTP 201 is taken', async (t) => {
  const server = await startTokenServer(t, () => ({ ...granted() as object, status: 201 }))
  const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') } })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
})

t.test('row 10: the refresh token of an answer that is of no use otherwise is kept, since it has replaced the one before', async (t) => {
  const clock = manualClock()
  const rotated = mint('rt')
  const server = await startTokenServer(t, (_request, nth) => nth === 1 ? granted({ access_token: 'not usable', refresh_token: rotated }) : granted())
  const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') }, clock })
  await sidecar.until(failed)
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
  t.equal(server.requests[1]?.form.get('refresh_token'), rotated)
})

t.test('row 37: a redirect of the token endpoint is not followed, and no credential goes there', async (t) => {
  const elsewhere = await startTokenServer(t, () => granted())
  for (const status of [301, 302, 303, 307, 308]) {
    const server = await startTokenServer(t, () => ({ status, headers: { location: elsewhere.endpoint } }))
    const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') }, clock: manualClock() })
    t.match((await sidecar.until(failed)).reason, /a redirect is never followed/)
  }
  t.equal(elsewhere.requests.length, 0)
})

t.test('client_credentials: the client\'s secret goes in the way that the config says, and is read afresh', async (t) => {
  for (const auth of ['client_secret_basic', 'client_secret_post']) {
    const clock = manualClock()
    const server = await startTokenServer(t, () => granted())
    const env = { SECRET: 'a:b%+ /' + mint('s') }
    const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, token_endpoint: "${server.endpoint}", client_id: "the client", client_secret: { env: SECRET }, client_auth: ${auth} }`), { env, clock })
    await sidecar.until(refreshed)
    const first = env.SECRET
    env.SECRET = mint('s')
    await settled()
    await clock.advance(500_000)
    await server.arrived(2)
    const sent = server.requests.map(({ headers, form }) => {
      if (auth === 'client_secret_post') return form.get('client_secret')
      const [id, secret] = Buffer.from(String(headers.authorization).slice(6), 'base64').toString().split(':').map((half) => decodeURIComponent(half.replaceAll('+', ' ')))
      t.equal(id, 'the client')
      return secret
    })
    t.same(sent, [first, env.SECRET])
    t.equal(server.requests[0]?.form.get('grant_type'), 'client_credentials')
    t.equal(server.requests[0]?.form.get('resource'), `${nowhere}/mcp`)
  }
})

t.test('client_credentials: an audience is sent where the issuer wants one, and then no resource that nobody named', async (t) => {
  const server = await startTokenServer(t, ({ form }) => form.get('audience') === 'tools' ? granted() : { status: 403, body: { error: 'access_denied' } })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, token_endpoint: "${server.endpoint}", client_id: c, client_secret: { env: S }, audience: tools }`), { env: { S: mint('s') }, clock: manualClock() })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
  t.notOk(server.requests[0]?.form.has('resource'))
})

t.test('client_credentials: invalid_grant ends nothing, as there is no grant that a person could renew', async (t) => {
  const clock = manualClock()
  const server = await startTokenServer(t, (_request, nth) => nth === 1 ? { status: 400, body: { error: 'invalid_grant' } } : granted())
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, token_endpoint: "${server.endpoint}", client_id: c, client_secret: { env: S } }`), { env: { S: mint('s') }, clock })
  t.match(await sidecar.until(failed), { outcome: 'unavailable' })
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
})

t.test('discovery: the metadata of an issuer is fetched once, after a failure again, and its token endpoint used', async (t) => {
  const clock = manualClock()
  const server = await startTokenServer(t, ({ path }, nth): TokenAnswer => {
    if (path !== '/.well-known/oauth-authorization-server') return path === '/token' ? granted() : { status: 404 }
    return nth === 1 ? { status: 503, headers: { 'retry-after': '7' } } : { body: { issuer: server.origin, token_endpoint: server.endpoint } }
  })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, issuer: "${server.origin}", client_id: c, client_secret: { env: S } }`), { env: { S: mint('s') }, clock })
  t.match((await sidecar.until(failed)).reason, /^the issuer http:\S+ could not be discovered: its metadata endpoint answered HTTP 404/)
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
  await settled()
  await clock.advance(500_000)
  await sidecar.until(() => sidecar.events.filter(refreshed).length === 2)
  t.same(server.requests.map(({ path }) => path), ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/token', '/token'])
})

for (const [what, gone] of [['says 404', { status: 404 }], ['says 405', { status: 405 }], ['says 410', { status: 410 }], ['ends the connection', 'disconnect']] as Array<[string, TokenAnswer]>) {
  t.test(`discovery: the metadata is fetched again after the token endpoint ${what}, as it may have moved`, async (t) => {
    const clock = manualClock()
    let moved = false
    const server = await startTokenServer(t, ({ path }): TokenAnswer => {
      if (path.startsWith('/.well-known/')) return { body: { issuer: server.origin, token_endpoint: `${server.origin}${moved ? '/new' : '/old'}` } }
      return path === (moved ? '/new' : '/old') ? granted() : gone
    })
    const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, issuer: "${server.origin}", client_id: c, client_secret: { env: S } }`), { env: { S: mint('s') }, clock })
    await sidecar.until(refreshed)
    moved = true
    await t.rejects(sidecar.credentials.refresh('alice', 'tools'), { code: 'ERR_REFRESH_FAILED' })
    t.match(await sidecar.credentials.refresh('alice', 'tools'), { state: 'valid', error: undefined })
    t.same(server.requests.map(({ path }) => path.replace('oauth-authorization-server', 'it')), ['/.well-known/it', '/old', '/old', '/.well-known/it', '/new'])
  })
}

t.test('discovery: the principals of one issuer ask for its metadata once between them, and once more after its token endpoint has moved', async (t) => {
  const names = Array.from({ length: 30 }, (_, nth) => `p${nth}`)
  let moved = false
  const server = await startTokenServer(t, ({ path }): TokenAnswer => {
    if (path === '/.well-known/openid-configuration') return { body: { issuer: server.origin, token_endpoint: `${server.origin}${moved ? '/new' : '/old'}` } }
    return path === (moved ? '/new' : '/old') ? granted() : { status: 404 }
  })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${nowhere}/mcp", credential: { type: client_credentials, issuer: "${server.origin}", client_id: c, client_secret: { env: S } } } }
principals: { ${names.map((name) => `${name}: { credentials: { tools: {} } }`).join(', ')} }`, { env: { S: mint('s') }, clock: manualClock() })
  const asked = (): number => server.requests.filter(({ path }) => path === '/.well-known/openid-configuration').length
  await sidecar.until(() => sidecar.events.filter(refreshed).length === names.length)
  t.equal(asked(), 1)
  moved = true
  for (const name of names) await t.rejects(sidecar.credentials.refresh(name, 'tools'), { code: 'ERR_REFRESH_FAILED' })
  for (const name of names) t.match(await sidecar.credentials.refresh(name, 'tools'), { state: 'valid', error: undefined })
  t.equal(asked(), 2)
})

t.test('discovery: an issuer with a path is found with OpenID Connect\'s well-known part before it', async (t) => {
  const server = await startTokenServer(t, ({ path }): TokenAnswer => {
    if (path === '/token') return granted()
    return path === '/.well-known/openid-configuration/tenant' ? { body: { issuer: `${server.origin}/tenant`, token_endpoint: server.endpoint } } : { status: 404 }
  })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, issuer: "${server.origin}/tenant", client_id: c, client_secret: { env: S } }`), { env: { S: mint('s') }, clock: manualClock() })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok' })
  t.same(server.requests.map(({ path }) => path), [
    '/.well-known/oauth-authorization-server/tenant', '/tenant/.well-known/openid-configuration', '/.well-known/openid-configuration/tenant', '/token',
  ])
})

for (const [what, metadata, reason] of [
  ['another issuer', (origin: string) => ({ issuer: origin.replace('127.0.0.1', 'localhost'), token_endpoint: `${origin}/token` }), /names another issuer: name the issuer in the config as it names itself, to the letter$/],
  ['no token endpoint', (origin: string) => ({ issuer: origin }), /names no token_endpoint$/],
] as const) {
  t.test(`row 40: metadata that names ${what} is refused, and no credential is sent`, async (t) => {
    const server = await startTokenServer(t, ({ path }): TokenAnswer => path.startsWith('/.well-known/') ? { body: metadata(server.origin) } : granted())
    const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: client_credentials, issuer: "${server.origin}", client_id: c, client_secret: { env: S } }`), { env: { S: mint('s') }, clock: manualClock() })
    t.match((await sidecar.until(failed)).reason, reason)
    t.notOk(server.requests.some(({ path }) => path === '/token'))
  })
}

t.test('json_refresh: a product\'s own endpoint, with templates, secrets and pointers', async (t) => {
  const clock = manualClock()
  const answers = [mint(), mint()]
  const next = mint('next "quoted"')
  const server = await startTokenServer(t, (_request, nth) => ({ body: { data: { 'a/b': [{ tok: answers[nth - 1] }] }, more: { ttl: '600', '~r': next } } }))
  const upstream = await startUpstream(t, guarded((token) => answers.includes(token)))
  const env = { RT: mint('rt'), AT: mint(), APIKEY: mint('k'), PIN: mint('p') }
  const sidecar = await startSidecar(t, `
upstreams:
  tools: { url: "${upstream.origin}/mcp" }
principals:
  alice:
    credentials:
      tools:
        type: json_refresh
        url: ${server.origin}/v2/refresh
        method: PUT
        headers: { X-Api-Key: { env: APIKEY }, Content-Type: application/vnd.product+json, Authorization: "Bearer {access_token}" }
        body: { session: { refresh: "{refresh_token}", pins: [{ env: PIN }, 3, true, null] } }
        refresh_token: { env: RT }
        access_token: { env: AT }
        response: { access_token: /data/a~1b/0/tok, refresh_token: /more/~0r, expires_in: /more/ttl }
`, { env, clock })
  const key = await sidecar.keyFor('alice')
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200, 'the first token is refused and replaced')
  const [first] = server.requests
  t.match(first, { method: 'PUT', path: '/v2/refresh', headers: { 'x-api-key': env.APIKEY, 'content-type': 'application/vnd.product+json', authorization: `Bearer ${env.AT}`, accept: 'application/json' } })
  t.same(JSON.parse(first?.body ?? ''), { session: { refresh: env.RT, pins: [env.PIN, 3, true, null] } })
  await settled()
  await clock.advance(500_000)
  await sidecar.until(() => sidecar.events.filter(refreshed).length === 2)
  t.match(server.requests[1], { headers: { authorization: `Bearer ${answers[0]}` } })
  t.equal(JSON.parse(server.requests[1]?.body ?? '').session.refresh, next)
})

t.test('json_refresh: without a body, with GET, and the answer where OAuth would have it', async (t) => {
  const server = await startTokenServer(t, () => granted({ refresh_token: '' }))
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: json_refresh, url: "${server.origin}/token", method: GET, headers: { X-Refresh: "{refresh_token}" }, refresh_token: { env: RT } }`), { env: { RT: mint('rt') } })
  t.match(await sidecar.until(isRefresh), { outcome: 'ok', expires_in: 600 })
  t.equal(server.requests[0]?.headers['content-type'], undefined)
})

for (const [what, answer, more, reason] of [
  ['an answer without the token', { body: { data: {} } }, '', /at \/access_token, gave no usable token/],
  ['a pointer into what is no object', { body: { data: 'x' } }, ', response: { access_token: /data/token }', /at \/data\/token, gave no usable token/],
  ['a template that asks for a token that is not there', {}, ', headers: { X-Old: "{access_token}" }', /no access_token yet/],
] as const) {
  t.test(`json_refresh: ${what}`, async (t) => {
    const server = await startTokenServer(t, () => answer)
    const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: json_refresh, url: "${server.origin}/token"${more} }`), { clock: manualClock() })
    t.match((await sidecar.until(failed)).reason, reason)
  })
}

t.test('json_refresh: a rotated refresh token is kept although the access token beside it is of no use', async (t) => {
  const clock = manualClock()
  const rotated = mint('rt')
  const server = await startTokenServer(t, (_request, nth) => granted(nth === 1 ? { access_token: '', refresh_token: rotated } : {}))
  const sidecar = await startSidecar(t, oneUpstream(nowhere, `{ type: json_refresh, url: "${server.origin}/token", body: { t: "{refresh_token}" }, refresh_token: { env: RT } }`), { env: { RT: mint('rt') }, clock })
  await sidecar.until(failed)
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
  t.same(JSON.parse(server.requests[1]?.body ?? ''), { t: rotated })
})

t.test('an issuer that prolongs the same opaque token is believed; one that counts a cached one down is not', async (t) => {
  for (const [expiresIn, outcome] of [[[1000, 1000], 'ok'], [[1000, 250], 'unchanged']] as const) {
    const clock = manualClock()
    const token = mint()
    const server = await startTokenServer(t, (_request, nth) => granted({ access_token: token, expires_in: expiresIn[nth - 1] ?? 1 }))
    const upstream = await startUpstream(t)
    const sidecar = await startSidecar(t, oneUpstream(upstream.origin, byRefreshToken(server.endpoint)), { env: { RT: mint('rt') }, clock })
    await sidecar.until(refreshed)
    await settled()
    await clock.advance(750_000)
    await sidecar.until(() => sidecar.events.filter(isRefresh).length === 2)
    t.match(sidecar.events.filter(isRefresh)[1], { outcome })
    if (outcome === 'ok') {
      clock.jump(500_000)
      await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
      t.equal(bearerOf(upstream.seen[0]), token)
      t.equal(server.requests.length, 2)
    }
  }
})

t.test('a token that has expired when it is given is not used, but its refresh token is', async (t) => {
  const clock = manualClock()
  const jwt = (exp: number): string => `e30.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.c2ln`
  const issuer = await startOpaqueIssuer(t, {
    answer: { expires_in: undefined, get access_token () { return jwt(clock.now() / 1000 + (issuer.requests.length === 1 ? -10 : 600)) } },
  })
  const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(issuer.endpoint)), { env: { RT: issuer.seed }, clock })
  t.match((await sidecar.until(failed)).reason, /has expired already: check this machine's clock/)
  await settled()
  await clock.advance(250)
  await sidecar.until(refreshed)
  t.equal(issuer.reused, false)
})

t.test('a secret that cannot be read is told by its place, and tried again', async (t) => {
  const clock = manualClock()
  const server = await startTokenServer(t, () => granted())
  const env: Record<string, string> = {}
  const sidecar = await startSidecar(t, oneUpstream(nowhere, byRefreshToken(server.endpoint, 'access_token: { env: AT }')), { env, clock })
  t.match(await sidecar.until(failed), { outcome: 'unavailable', reason: /variable (RT|AT) is not set/ })
  env.RT = mint('rt')
  env.AT = 'not a token'
  await settled()
  await clock.advance(250)
  t.match(await sidecar.until((event): event is RefreshEvent => isRefresh(event) && event.attempt === 2), { reason: /^env AT gave no usable token/ })
  env.AT = mint()
  await settled()
  await clock.advance(500)
  await settled()
  t.equal(server.requests.length, 0, 'the first token is used as it is')
})
