import { Agent, request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import { pause } from '../../src/clock.js'
import type { Config } from '../../src/config/config.js'
import { loadConfigText } from '../../src/config/load.js'
import { createLog } from '../../src/telemetry/log.js'
import { call, errorCode, rpc, type CallAnswer } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { testClock } from '../helpers/clock.js'
import { compact, signingKey, startJwtIssuer, type JwtIssuer } from '../helpers/jwt-issuer.js'
import { mintToken } from '../helpers/mint.js'
import { drain, eventually, open, piece } from '../helpers/peers.js'
import { startSidecar, type StartOptions, type TestSidecar } from '../helpers/sidecar.js'
import { startUpstream, type Answer, type TestUpstream } from '../helpers/upstream.js'

const CHALLENGE = 'Bearer realm="mcp-valet", error="invalid_token"'

interface Scene { readonly issuer: JwtIssuer, readonly upstream: TestUpstream, readonly sidecar: TestSidecar, readonly url: string, readonly env: Record<string, string> }

/** A sidecar that knows alice and bob, each with an API token of its own, and JWTs of one issuer. */
async function scene (t: Test, options: { callers?: string, upstream?: string, answer?: Answer, issuer?: JwtIssuer, sidecar?: StartOptions } = {}): Promise<Scene> {
  const { clock } = options.sidecar ?? {}
  const issuer = options.issuer ?? await startJwtIssuer(t, clock === undefined ? {} : { now: () => clock.now() })
  const upstream = await startUpstream(t, options.answer)
  const env = { ALICE: mintToken(), BOB: mintToken() }
  const sidecar = await startSidecar(t, `
callers: { jwt: { issuer: "${issuer.url}", audience: mcp-valet }${options.callers === undefined ? '' : `, ${options.callers}`} }
upstreams: { tools: { url: "${upstream.origin}/mcp"${options.upstream === undefined ? '' : `, ${options.upstream}`} } }
principals:
  alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } }
  bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } }
`, { ...options.sidecar, env })
  return { issuer, upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, env }
}

const bearer = (token: string): { headers: Record<string, string> } => ({ headers: { authorization: `Bearer ${token}` } })

function refused (t: Test, answer: CallAnswer, code: string, what = code): void {
  t.same([answer.status, errorCode(answer), answer.headers['www-authenticate'], answer.json().id], [401, code, CHALLENGE, 'r-1'], what)
  t.notMatch(answer.body + JSON.stringify(answer.headers), /resource_metadata/)
}

t.test('P1: a JWT opens its principal\'s door, beside session keys', async (t) => {
  const { issuer, upstream, sidecar, url, env } = await scene(t)
  for (const [sub, token] of [['alice', env.ALICE], ['bob', env.BOB]] as const) {
    const jwt = await issuer.sign({ sub })
    for (const headers of [{ authorization: `Bearer ${jwt}` }, { authorization: `bearer  ${jwt}` }, { 'X-Session-Key': jwt }]) {
      t.equal((await call(url, { headers })).status, 200)
      t.equal(upstream.seen.at(-1)?.headers['x-api-key'], token)
      t.equal(upstream.seen.at(-1)?.headers.authorization, `Bearer ${String(token)}`)
    }
  }
  t.equal((await call(url, { key: await sidecar.keyFor('alice') })).status, 200)
  t.match(await sidecar.until((event) => event.event === 'call'), { principal: 'alice', agent: 'jwt', outcome: 'ok' })
  t.equal(issuer.fetches, 1)
})

t.test('row 52: a config that changes elsewhere has no caller verified anew, whatever has become of its issuer', async (t) => {
  const { issuer, upstream, sidecar, url, env } = await scene(t)
  const known = await issuer.sign()
  t.equal((await call(url, bearer(known))).status, 200)
  const config = (audience: string): Config => loadConfigText(`
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
callers: { jwt: { issuer: "${issuer.url}", audience: ${audience} } }
upstreams: { tools: { url: "${upstream.origin}/mcp", body_limit: 1MiB } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } } }
`, { env })
  await issuer.stop()
  await sidecar.reload(async () => config('mcp-valet'))
  t.equal((await call(url, bearer(known))).status, 200)
  t.equal((await call(url, bearer(await issuer.sign()))).status, 200, 'nor are its keys forgotten')
  await sidecar.reload(async () => config('another'))
  t.equal((await call(url, bearer(known))).status, 503, 'a config that says something else of callers knows none')
})

t.test('row 44: a caller with a JWT may call the tools of its principal, and no others', async (t) => {
  const issuer = await startJwtIssuer(t)
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, `
callers: { jwt: { issuer: "${issuer.url}", audience: mcp-valet } }
upstreams: { tools: { url: "${upstream.origin}/mcp", tools: { deny: ["drop_*"] } } }
principals:
  alice: { tools: { deny: ["admin_*"] }, credentials: { tools: { type: api_token, token: { env: TOKEN } } } }
  bob: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } }
`, { env: { TOKEN: mintToken() } })
  for (const [sub, name, allowed] of [
    ['alice', 'search', true], ['alice', 'admin_x', false], ['alice', 'drop_x', false], ['bob', 'admin_x', true], ['bob', 'drop_x', false],
  ] as const) {
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { ...bearer(await issuer.sign({ sub })), body: rpc('tools/call', { name }) })
    t.match(answer.json(), allowed ? { result: { ok: true } } : { error: { code: -32602, message: `Unknown tool: ${name}` } }, `${sub} ${name}`)
  }
  t.equal(upstream.seen.length, 2)
})

t.test('row 35: the JWT goes no further, whatever headers it stands in', async (t) => {
  for (const relay of [false, true]) {
    const { issuer, upstream, url, env } = await scene(t, { callers: `relay_authorization: ${String(relay)}` })
    const jwt = await issuer.sign()
    const copies = {
      Authorization: `Bearer ${jwt}`, 'X-Api-Key': jwt, X_Api_Key: jwt, 'X-API_KEY': jwt, Cookie: `session=${jwt}`, 'Proxy-Authorization': `Bearer ${jwt}`, X_Session_Key: jwt, 'Set-Cookie': jwt,
    }
    for (const headers of [{ Authorization: `Bearer ${jwt}` }, { 'X-SESSION-KEY': jwt }, { ...copies, 'x-session-key': jwt }, copies]) {
      t.equal((await call(url, { headers })).status, 200)
      const seen = upstream.seen.at(-1)
      t.equal(seen?.headers['x-api-key'], env.ALICE)
      t.notOk(seen?.rawHeaders.some((text) => text.includes(jwt.slice(-20))), `${Object.keys(headers).join()}${relay ? ', relaying' : ''}`)
    }
  }
})

t.test('what is wrong with a JWT is told in the log, and to its caller only that it is not accepted', async (t) => {
  const { issuer, upstream, sidecar, url } = await scene(t)
  const stranger = await signingKey('ES256', issuer.keys[0]?.kid as string)
  const now = Math.floor(Date.now() / 1000)
  for (const [token, reason, code = 'ERR_SESSION_UNKNOWN'] of [
    [compact({ alg: 'none' }, { iss: issuer.url, aud: 'mcp-valet', sub: 'alice', exp: now + 60 }), /alg/],
    [await issuer.sign({}, { key: stranger }), /signature/],
    [await issuer.sign({ aud: 'other' }), /aud/],
    [await issuer.sign({ iss: 'https://other.example' }), /issuer/],
    [await issuer.sign({ exp: now - 60 }), /expired/, 'ERR_SESSION_EXPIRED'],
    [await issuer.sign({ exp: undefined as never }), /exp/],
    [await issuer.sign({ nbf: now + 3600 }), /nbf/],
    [await issuer.sign({}, { header: { kid: 'other' } }), /no key/],
    [await issuer.sign({}, { header: { crit: ['urn:x'], 'urn:x': true } }), /not supported/],
    [await issuer.sign({ sub: 'a\nb' }), /"sub"/],
    [await issuer.sign({ blob: 'x'.repeat(9_500) }), /longer/],
    ['a.b.c', /no JWT/],
  ] as const) {
    for (const headers of [{ authorization: `Bearer ${token}` }, { 'x-session-key': token }]) {
      const before = sidecar.events.length
      refused(t, await call(url, { headers, body: rpc('ping', {}, 'r-1') }), code, String(reason))
      t.match(sidecar.events.slice(before), [{ event: 'denied', code, reason, upstream: 'tools' }, { event: 'call', status: 401 }])
    }
  }
  t.same(upstream.seen, [])
  t.equal((await call(url, { ...bearer('x'.repeat(17_000)), body: rpc('ping') })).status, 400, 'more than a head may have is no request')
})

t.test('an upstream that is open to nobody in particular is closed to a JWT that is not good', async (t) => {
  const { issuer, upstream, url } = await scene(t, { upstream: 'anonymous: [no_principal]' })
  refused(t, await call(url, { ...bearer(await issuer.sign({ aud: 'x' })), body: rpc('ping', {}, 'r-1') }), 'ERR_SESSION_UNKNOWN')
  refused(t, await call(url, { ...bearer(await issuer.sign({ iss: 'https://other.example' })), body: rpc('ping', {}, 'r-1') }), 'ERR_SESSION_UNKNOWN')
  t.same(upstream.seen, [])
  t.equal((await call(url, bearer('opaque'))).status, 200, 'as before, what is no JWT is nobody\'s')
  t.equal(upstream.seen[0]?.headers.authorization, undefined)
})

t.test('O6: while relaying, a JWT of another issuer stays its caller\'s own, and one of ours must be good', async (t) => {
  const { issuer, upstream, url, env } = await scene(t, { callers: 'relay_authorization: true' })
  const foreign = await (await startJwtIssuer(t)).sign()
  t.equal((await call(url, { headers: { authorization: `Bearer ${foreign}`, 'x-api-key': 'own' } })).status, 200)
  t.match(upstream.seen.at(-1)?.headers, { authorization: `Bearer ${foreign}`, 'x-api-key': 'own' })
  t.equal((await call(url, bearer(await issuer.sign()))).status, 200)
  t.equal(upstream.seen.at(-1)?.headers['x-api-key'], env.ALICE)
  const served = upstream.seen.length
  const bad = await issuer.sign({ aud: 'other' })
  for (const headers of [{ authorization: `Bearer ${bad}` }, { authorization: `Bearer ${bad}=` }, { 'x-api-key': bad }, { authorization: `DPoP ${bad}` }, { authorization: foreign, 'x-api-key': bad }] as Array<Record<string, string>>) {
    refused(t, await call(url, { headers, body: rpc('ping', {}, 'r-1') }), 'ERR_SESSION_UNKNOWN')
  }
  t.equal(upstream.seen.length, served)
})

t.test('row 55: keys that cannot be had harm no session key, and come back by themselves', async (t) => {
  const clock = testClock({ speed: 20 })
  const issuer = await startJwtIssuer(t, { now: () => clock.now() })
  await issuer.stop()
  const { sidecar, upstream, url } = await scene(t, { issuer, sidecar: { clock } })
  t.equal((await call(url, { key: await sidecar.keyFor('alice') })).status, 200)
  const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 36_000 })
  const answer = await call(url, { ...bearer(token), body: rpc('ping', {}, 'r-1') })
  t.same([answer.status, errorCode(answer), answer.json().id], [503, 'ERR_ISSUER_UNAVAILABLE', 'r-1'])
  t.ok(Number(answer.headers['retry-after']) >= 1)
  t.equal(answer.headers['www-authenticate'], undefined)
  t.match(await sidecar.until((event) => event.event === 'failed'), { code: 'ERR_ISSUER_UNAVAILABLE', upstream: 'tools', reason: /^its metadata cannot be reached \(ECONNREFUSED\)$/ })
  t.match(await sidecar.until((event) => event.event === 'warning'), { reason: /keys of the issuer/ })
  t.equal(upstream.seen.length, 1)
  await issuer.start()
  let status = 503
  while (status === 503) status = (await call(url, bearer(token))).status
  t.equal(status, 200)
})

t.test('a key set that is no use is the same as none, until it is one', async (t) => {
  const clock = testClock({ speed: 20 })
  const issuer = await startJwtIssuer(t, { now: () => clock.now() })
  issuer.instead.set('/jwks', { status: 200, text: '{"keys":"none"}' })
  const { url } = await scene(t, { issuer, sidecar: { clock } })
  const token = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 36_000 })
  t.equal(errorCode(await call(url, bearer(token))), 'ERR_ISSUER_UNAVAILABLE')
  issuer.instead.clear()
  let status = 503
  while (status === 503) status = (await call(url, bearer(token))).status
  t.equal(status, 200)
})

t.test('a key that the issuer has just begun to use is picked up within the cool-down', async (t) => {
  const clock = testClock({ speed: 100 })
  const { issuer, url } = await scene(t, { sidecar: { clock } })
  const exp = Math.floor(clock.now() / 1000) + 36_000
  t.equal((await call(url, bearer(await issuer.sign({ exp })))).status, 200)
  await issuer.rotate('RS256')
  const token = await issuer.sign({ exp })
  const end = clock.elapsed() + 120_000
  let status = 401
  while (status === 401 && clock.elapsed() < end) status = (await call(url, bearer(token))).status
  t.equal(status, 200)
})

for (const [what, listening] of [
  ['a stream that listens', { method: 'GET' }],
  ['a stream that listens by a call of its own', { body: rpc('subscriptions/listen') }],
  ['a call under way', { body: rpc('tools/call', { name: 'slow' }) }],
] as const) {
  const ends = what !== 'a call under way'
  t.test(`${what} ${ends ? 'ends with the JWT of its caller' : 'outlives the JWT of its caller'}, whose next call is refused`, async (t) => {
    const clock = testClock({ speed: 100 })
    let push = (_text: string): void => {}
    const { issuer, upstream, url } = await scene(t, {
      sidecar: { clock },
      answer (_seen, response) {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        push = (text) => response.write(text)
        push('data: 1\n\n')
      },
    })
    const jwt = await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 60 })
    const { request, head } = open(url, { ...listening, ...bearer(jwt) })
    const stream = await head
    t.equal(await piece(stream), 'data: 1\n\n')
    if (ends) {
      t.same(await drain(stream), { text: '', complete: false })
    } else {
      await pause(clock, 95_000)
      push('data: 2\n\n')
      t.equal(await piece(stream), 'data: 2\n\n')
    }
    refused(t, await call(url, { ...bearer(jwt), body: rpc('ping', {}, 'r-1') }), 'ERR_SESSION_EXPIRED')
    request.destroy()
    t.equal(upstream.seen.length, 1)
  })
}

t.test('row 44: one connection that is used for one user after the other serves each as itself', async (t) => {
  const { issuer, upstream, url, env, sidecar } = await scene(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const over = async (headers: Record<string, string>): Promise<number> => await new Promise((resolve, reject) => {
    const request = httpRequest(url, { method: 'POST', agent, headers: { 'content-type': 'application/json', ...headers } }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode as number))
    })
    request.on('error', reject).end(rpc('ping'))
  })
  const [alice, bob, bad] = await Promise.all([issuer.sign({ sub: 'alice' }), issuer.sign({ sub: 'bob' }), issuer.sign({ sub: 'bob', aud: 'x' })])
  const key = await sidecar.keyFor('alice')
  for (let round = 0; round < 3; round++) {
    for (const [headers, expected] of [
      [{ authorization: `Bearer ${alice}` }, env.ALICE], [{ authorization: `Bearer ${bob}` }, env.BOB], [{ 'x-session-key': key }, env.ALICE], [{ 'x-session-key': bob }, env.BOB],
    ] as const) {
      t.equal(await over(headers), 200)
      t.equal(upstream.seen.at(-1)?.headers['x-api-key'], expected)
    }
    t.equal(await over({ authorization: `Bearer ${bad}` }), 401)
    t.equal(await over({}), 401)
  }
})

t.test('a caller that leaves while its token is looked into costs nothing', async (t) => {
  const clock = testClock({ speed: 100 })
  const { issuer, url, sidecar, upstream } = await scene(t, { sidecar: { clock } })
  t.equal((await call(url, bearer(await issuer.sign({ exp: Math.floor(clock.now() / 1000) + 36_000 })))).status, 200)
  await issuer.rotate()
  issuer.instead.set('/jwks', 'hang')
  await pause(clock, 31_000)
  const asked = issuer.fetches
  const { request } = open(url, bearer(await issuer.sign()))
  await eventually(() => issuer.fetches > asked)
  request.destroy()
  t.match(await sidecar.until((event) => event.event === 'call' && event.outcome !== 'ok'), { outcome: 'aborted' })
  t.equal(upstream.seen.length, 1)
})

t.test('row 46: a JWT is in no log line, metric or answer, whether it is good or not', async (t) => {
  const lines: string[] = []
  const log = await createLog({ level: 'debug', destination: { write: (line: string) => { lines.push(line) } } })
  const canaries = new Canaries()
  const { issuer, sidecar, url } = await scene(t, { sidecar: { onEvent: log } })
  const answers: CallAnswer[] = []
  for (const claims of [{}, { aud: 'x' }, { exp: 1 }, { sub: '\n' }, { sub: 'nobody' }, { cnf: {} }]) {
    const jwt = canaries.add(JSON.stringify(claims), await issuer.sign(claims))
    answers.push(await call(url, bearer(jwt)), await call(url, { key: jwt }), await call(url, { headers: { 'x-api-key': jwt } }))
  }
  t.same(answers.map(({ status }) => status), [200, 200, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 403, 403, 401, 401, 401, 401])
  t.same(canaries.findIn(lines.join('') + answers.map(({ headers, body }) => JSON.stringify(headers) + body).join('') + await sidecar.metrics()), [])
  t.match(lines.join(''), /"reason":"its aud is not in callers.jwt.audience"/)
})
