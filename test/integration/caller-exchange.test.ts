import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { createIssuer } from '../../src/demo/issuer.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import { lmdbStore } from '../../src/state/lmdb.js'
import { call, errorCode, rpc } from '../helpers/call.js'
import { testClock } from '../helpers/clock.js'
import { startExchange, type ExchangeOptions, type ExchangeServer } from '../helpers/exchange-server.js'
import { startJwtIssuer, type JwtIssuer } from '../helpers/jwt-issuer.js'
import { connectSdk, SDKS } from '../helpers/sdk-clients.js'
import { startSidecar, type StartOptions, type TestSidecar } from '../helpers/sidecar.js'
import { startHop } from '../helpers/token-hop.js'
import { bearerOf, startTokenServer } from '../helpers/tokens.js'
import { answerJson, guarded, startUpstream, type Answer, type TestUpstream } from '../helpers/upstream.js'

interface Scene { readonly issuer: JwtIssuer, readonly exchange: ExchangeServer, readonly upstream: TestUpstream, readonly sidecar: TestSidecar, readonly url: string }

/** A sidecar that names no principal: whoever has a JWT of the issuer gets a token in exchange for it. */
async function scene (t: Test, options: { answer?: (exchange: ExchangeServer) => Answer, exchange?: ExchangeOptions, more?: string, sidecar?: StartOptions } = {}): Promise<Scene> {
  const issuer = await startJwtIssuer(t)
  const exchange = await startExchange(t, issuer, options.exchange)
  const upstream = await startUpstream(t, options.answer?.(exchange) ?? guarded((token) => exchange.holder(token) !== undefined))
  const sidecar = await startSidecar(t, `
callers: { jwt: { issuer: "${issuer.url}", audience: mcp-valet } }
upstreams:
  tools:
    url: "${upstream.origin}/mcp"
    credential: { type: token_exchange, token_endpoint: "${exchange.endpoint}", client_id: sidecar }
${options.more ?? ''}`, options.sidecar)
  return { issuer, exchange, upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp` }
}

const bearer = (token: string): { headers: Record<string, string> } => ({ headers: { authorization: `Bearer ${token}` } })

t.test('a caller whom nobody has configured gets what its JWT is exchanged for', async (t) => {
  const { issuer, exchange, upstream, sidecar, url } = await scene(t)
  const jwt = await issuer.sign({ sub: 'erika@example.com', azp: 'desktop' })
  const answers = await Promise.all(Array.from({ length: 50 }, async () => await call(url, bearer(jwt))))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(exchange.requests.length, 1, 'once for all of them')
  t.same(Object.fromEntries(exchange.requests[0]?.form ?? []), {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: jwt,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    resource: `${upstream.origin}/mcp`,
    client_id: 'sidecar',
  })
  t.ok(upstream.seen.every((seen) => bearerOf(seen) === exchange.issued[0]?.token && seen.headers['x-api-key'] === exchange.issued[0]?.token))
  t.match(await sidecar.until(({ event }) => event === 'refresh'), { principal: 'erika@example.com', type: 'token_exchange', trigger: 'expired', outcome: 'ok' })
  t.match(await sidecar.until(({ event }) => event === 'call'), { principal: 'erika@example.com', agent: 'desktop' })
})

t.test('a token that the upstream refuses is exchanged for anew, once for all who had it', async (t) => {
  const refused = new Set<string>()
  const { issuer, exchange, upstream, url } = await scene(t, { answer: (exchange) => guarded((token) => exchange.holder(token) !== undefined && !refused.has(token)) })
  const jwt = await issuer.sign()
  t.equal((await call(url, bearer(jwt))).status, 200)
  refused.add(exchange.issued[0]?.token as string)
  const answers = await Promise.all(Array.from({ length: 20 }, async () => await call(url, bearer(jwt))))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(exchange.requests.length, 2)
  t.equal(bearerOf(upstream.seen.at(-1)), exchange.issued[1]?.token)
})

t.test('an issuer that will not exchange is asked once a back-off step, and the caller told to come back', async (t) => {
  const { issuer, exchange, upstream, url, sidecar } = await scene(t, { exchange: { instead: () => ({ status: 400, body: { error: 'invalid_grant' } }) }, sidecar: { clock: testClock({ speed: 50 }) } })
  const answer = await call(url, { ...bearer(await issuer.sign({ exp: Math.floor(Date.now() / 1000) + 36_000 })), body: rpc('ping', {}, 'r-1') })
  t.same([answer.status, errorCode(answer), answer.json().id], [503, 'ERR_CREDENTIAL_UNAVAILABLE', 'r-1'])
  t.ok(answer.headers['retry-after'])
  t.ok(exchange.requests.length < 12)
  t.same(upstream.seen, [])
  t.match(await sidecar.until(({ event }) => event === 'failed'), { principal: 'alice', reason: /does not accept the caller's JWT/ })
})

t.test('what the config says of a principal counts: its own credential, or the exchange with its own settings', async (t) => {
  const { issuer, exchange, upstream, url, sidecar } = await scene(t, {
    answer: () => answerJson,
    more: `
  plain: { url: "http://127.0.0.1:1/mcp" }
principals:
  ci: { credentials: { tools: { type: api_token, token: { env: CI } } } }
  alice: { credentials: { tools: { scope: own } } }
`,
    sidecar: { env: { CI: 'ci-token' } },
  })
  t.equal((await call(url, bearer(await issuer.sign({ sub: 'ci' })))).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), 'ci-token')
  t.equal((await call(url, bearer(await issuer.sign({ sub: 'alice' })))).status, 200)
  t.equal(exchange.requests.at(-1)?.form.get('scope'), 'own')
  t.equal((await call(url, bearer(await issuer.sign({ sub: 'bob' })))).status, 200)
  t.equal(exchange.requests.at(-1)?.form.get('scope'), null)
  for (const [at, headers] of [
    [url, { 'x-session-key': await sidecar.keyFor('alice') }],
    [`${sidecar.proxyUrl}/plain/mcp`, { authorization: `Bearer ${await issuer.sign()}` }],
  ] as const) {
    const answer = await call(at, { headers })
    t.same([answer.status, errorCode(answer)], [403, 'ERR_CREDENTIAL_MISSING'])
  }
  t.notOk(sidecar.events.some((event) => event.event === 'refresh' && event.outcome !== 'ok'), 'nobody has tried to exchange nothing')
})

t.test('a credential that is put for a principal takes the place of the exchange, and gives it back', async (t) => {
  const { issuer, exchange, upstream, url, sidecar } = await scene(t, { answer: () => answerJson, more: 'principals: { alice: { credentials: { tools: {} } } }\n' })
  const jwt = await issuer.sign()
  for (const round of [1, 2]) {
    t.equal((await call(url, bearer(jwt))).status, 200)
    t.equal(bearerOf(upstream.seen.at(-1)), exchange.issued.at(-1)?.token)
    await sidecar.principals.put('alice', { credentials: { tools: { type: 'api_token', token: `put-${round}` } } })
    t.equal((await call(url, bearer(jwt))).status, 200)
    t.equal(bearerOf(upstream.seen.at(-1)), `put-${round}`)
    t.ok(await sidecar.principals.delete('alice'))
  }
  t.equal((await call(url, bearer(jwt))).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), exchange.issued.at(-1)?.token)
})

t.test('row 46: nothing of an exchange is kept in the state', async (t) => {
  const folder = join(t.testdir(), 'state')
  const { issuer, exchange, url, sidecar } = await scene(t, { more: `state: { driver: lmdb, path: "${folder}" }\n` })
  t.equal((await call(url, bearer(await issuer.sign()))).status, 200)
  t.equal(exchange.issued.length, 1)
  await sidecar.close()
  const store = await lmdbStore(folder)
  t.teardown(async () => await store.close())
  const names: string[] = []
  for await (const [name] of store.list('')) names.push(name)
  t.same(names.filter((name) => /subject|credential|alice/.test(name)), [])
})

t.test('row 44: two users, each with two JWTs, never get one another\'s token, however their calls interleave', async (t) => {
  const refused = new Set<string>()
  const leaks: string[] = []
  const { issuer, exchange, upstream, url } = await scene(t, {
    // Each call says in its body whose it is, and by which JWT; a token that was got for any other would be a leak.
    answer: (exchange) => (seen, response, request) => {
      const { jti } = (JSON.parse(seen.body.toString()) as { params: { jti: string } }).params
      const token = bearerOf(seen) as string
      const got = exchange.issued.find((entry) => entry.token === token)
      if (got?.claims.jti !== jti || seen.headers['x-api-key'] !== token) leaks.push(jti)
      guarded((token) => !refused.has(token), answerJson)(seen, response, request)
    },
  })
  const jwts = await Promise.all(['alice-read', 'alice-write', 'bob-read', 'bob-write'].map(async (jti) => {
    const [sub, scope] = jti.split('-') as [string, string]
    return { jti, token: await issuer.sign({ sub, scope, jti }) }
  }))
  const step = fc.oneof(
    { weight: 9, arbitrary: fc.record({ do: fc.constant('call' as const), who: fc.nat(3), where: fc.constantFrom('authorization', 'x-session-key') }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('refuse' as const), who: fc.nat(3) }) })

  await fc.assert(fc.asyncProperty(fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 4 }), async (rounds) => {
    for (const round of rounds) {
      const answers = await Promise.all(round.map(async (step) => {
        const { jti, token } = jwts[step.who] as typeof jwts[number]
        if (step.do === 'call') return await call(url, { headers: { [step.where]: step.where === 'authorization' ? `Bearer ${token}` : token }, body: rpc('ping', { jti }) })
        for (const { token, claims } of exchange.issued) if (claims.jti === jti) refused.add(token)
        return undefined
      }))
      if (leaks.length > 0) return false
      if (answers.some((answer) => answer !== undefined && answer.status !== 200 && errorCode(answer) !== 'ERR_UPSTREAM_UNAUTHORIZED')) return false
    }
    return true
  }), { numRuns: 40 })
  t.same(leaks, [])
  t.ok(upstream.seen.length > 0)
  t.same(new Set(exchange.issued.map(({ claims }) => claims.jti)).size, 4)
})

for (const sdk of SDKS) {
  t.test(`row 44: two users of ${sdk} at once, each with a JWT of its own, work as themselves`, async (t) => {
    const callers = await startJwtIssuer(t)
    let audience = 'urn:not-yet'
    const tokens = await createIssuer({ audience: () => audience, lifetime: 60 })
    t.teardown(async () => await tokens.close())
    const mcp = await createDemoMcpServer({ issuer: tokens.url, jwks: tokens.jwksUri })
    t.teardown(async () => await mcp.close())
    audience = mcp.audience
    const hop = await startHop(t, mcp.url)
    // The authorization server of the MCP server: takes the product's JWT and hands out one of its own for the same user.
    const endpoint = await startTokenServer(t, async ({ form }) => {
      const [, payload] = (form.get('subject_token') as string).split('.') as [string, string]
      const { sub } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub: string }
      return { body: { access_token: await tokens.mint(sub), issued_token_type: 'urn:ietf:params:oauth:token-type:jwt', token_type: 'Bearer', expires_in: 60 } }
    })
    const sidecar = await startSidecar(t, `
callers: { jwt: { issuer: "${callers.url}", audience: mcp-valet } }
upstreams: { peer: { url: "${hop.origin}/mcp", credential: { type: token_exchange, token_endpoint: "${endpoint.endpoint}" } } }
`)
    const agents = await Promise.all(['alice', 'bob'].map(async (sub) =>
      await connectSdk(t, sdk, `${sidecar.proxyUrl}/peer/mcp`, { headers: { Authorization: `Bearer ${await callers.sign({ sub })}` } })))
    for (let round = 0; round < 3; round++) {
      const results = await Promise.all(agents.map(async (agent, i) => (await agent.call('add', { a: round, b: i })).content[0]?.text))
      t.same(results, [`${round}`, `${round + 1}`])
    }
    const used = new Map<string, Set<string>>()
    for (const { session, token } of hop.passed) if (session !== undefined && token !== undefined) used.set(session, (used.get(session) ?? new Set()).add(token))
    t.equal(used.size, 2)
    t.same([...used.values()].map((tokens) => tokens.size), [1, 1], 'each session is served with one token')
    t.equal(new Set([...used.values()].flatMap((tokens) => [...tokens])).size, 2, 'and each with another one')
    t.ok(hop.passed.every(({ token, apiKey }) => token !== undefined && token === apiKey))
    for (const agent of agents) t.same(agent.errors.map(String), [])
    t.equal(endpoint.requests.length, 2)
  })
}
