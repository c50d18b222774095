import t from 'tap'
import { call, errorCode, rpc, type CallAnswer } from '../helpers/call.js'
import { freshToken, startFlow, startRotating } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'
import { answerJson, guarded, startUpstream, type Seen } from '../helpers/upstream.js'

const sent = (seen: Seen | undefined): unknown[] => [seen?.headers.authorization, seen?.headers['x-api-key']]
const both = (token: string): string[] => [`Bearer ${token}`, token]

for (const method of ['POST', 'GET', 'DELETE']) {
  t.test(`H1: a ${method} leaves with both headers`, async (t) => {
    const upstream = await startUpstream(t)
    const { url, key, env } = await startFlow(t, upstream.origin)
    t.equal((await call(url, { method, key })).status, 200)
    t.equal(upstream.seen[0]?.method, method)
    t.same(sent(upstream.seen[0]), both(env.ALICE as string))
    t.equal(upstream.seen[0]?.headers['x-session-key'], undefined)
    t.equal(upstream.seen[0]?.headers.host, new URL(upstream.origin).host, 'the upstream sees its own name')
  })

  t.test(`H1: the replay of a ${method} leaves with both headers, of the new token`, async (t) => {
    const refused = new Set<string>()
    const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
    const { url, key, first } = await startRotating(t, upstream.origin)
    refused.add(first)
    t.equal((await call(url, { method, key })).status, 200)
    const [before, after] = upstream.seen
    t.same(sent(before), both(first))
    t.not(sent(after)[1], first)
    t.same(sent(after), both(String(sent(after)[1])))
  })
}

t.test('H1: the templates are each upstream\'s own, and replace the default ones', async (t) => {
  const upstream = await startUpstream(t)
  const token = freshToken()
  const sidecar = await startSidecar(t, `
upstreams:
  a: { url: "${upstream.origin}/a", headers: { X-Token: "Token {token};v=1" } }
  b: { url: "${upstream.origin}/b" }
principals:
  alice: { credentials: { a: { type: api_token, token: { env: T } }, b: { type: api_token, token: { env: T } } } }
`, { env: { T: token } })
  const key = await sidecar.keyFor('alice')
  await call(`${sidecar.proxyUrl}/a/mcp`, { key, headers: { 'x-token': 'mine', authorization: 'Bearer mine', 'x-api-key': 'mine' } })
  await call(`${sidecar.proxyUrl}/b/mcp`, { key })
  t.same([upstream.seen[0]?.headers['x-token'], ...sent(upstream.seen[0])], [`Token ${token};v=1`, undefined, undefined])
  t.same([upstream.seen[1]?.headers['x-token'], ...sent(upstream.seen[1])], [undefined, ...both(token)])
})

t.test('H2: an API token whose source has a new one is read again after a 401', async (t) => {
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, key, env, sidecar } = await startFlow(t, upstream.origin)
  t.equal((await call(url, { key })).status, 200)
  refused.add(env.ALICE as string)
  const next = env.ALICE = freshToken()
  t.equal((await call(url, { key })).status, 200)
  t.same(upstream.seen.map((seen) => sent(seen)[1]).at(-1), next)
  t.match(await sidecar.until((event) => event.event === 'refresh' && event.trigger === 'rejected'), { type: 'api_token', outcome: 'ok' })
})

t.test('H2: a JWT near its end is refreshed before the call, which sees no 401', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key, first, sidecar } = await startRotating(t, upstream.origin, { issuer: { lifetime: 1, now: () => Date.now() - 3_600_000 } })
  t.equal((await call(url, { key })).status, 200)
  t.not(sent(upstream.seen[0])[1], first, 'the one that had expired was not sent')
  t.notOk(sidecar.events.some(({ event }) => event === 'rejected'))
})

t.test('P1: a call without a key, or with a wrong one, is a 401 that starts no OAuth dance', async (t) => {
  const upstream = await startUpstream(t)
  const { url } = await startFlow(t, upstream.origin)
  const cases: Array<[CallAnswer, string]> = [
    [await call(url, { body: rpc('tools/list', {}, 'abc') }), 'ERR_SESSION_REQUIRED'],
    [await call(url, { key: 'vk_' + 'a'.repeat(43), body: rpc('tools/list', {}, 'abc') }), 'ERR_SESSION_UNKNOWN'],
    [await call(url, { headers: { authorization: 'Bearer vk_nothing' }, body: rpc('tools/list', {}, 'abc') }), 'ERR_SESSION_UNKNOWN'],
    [await call(url, { headers: { authorization: 'Bearer ey.ey.ey' }, body: rpc('tools/list', {}, 'abc') }), 'ERR_SESSION_REQUIRED'],
  ]
  for (const [answer, code] of cases) {
    t.equal(answer.status, 401)
    t.equal(errorCode(answer), code)
    t.equal(answer.json().id, 'abc')
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="mcp-valet", error="invalid_token"')
  }
  t.equal(upstream.seen.length, 0)
})

t.test('P1: what an OAuth client would look for next is not there', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar, key } = await startFlow(t, upstream.origin, 'anonymous: [no_principal]')
  const paths = ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/tools/mcp', '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration', '/tools/mcp/.well-known/oauth-protected-resource', '/authorize', '/register', '/token', '/']
  for (const path of paths) {
    for (const method of ['GET', 'POST']) {
      t.equal((await call(sidecar.proxyUrl + path, { method, key })).status, 404, `${method} ${path}`)
    }
  }
  t.equal(upstream.seen.length, 0)
})

t.test('P1: an upstream\'s own challenge never reaches an agent, whatever its status', async (t) => {
  for (const status of [401, 403, 500]) {
    const upstream = await startUpstream(t, (_seen, response) => {
      response.writeHead(status, { 'www-authenticate': 'Bearer resource_metadata="http://evil.example/"', 'proxy-authenticate': 'Basic', 'set-cookie': 'a=b' }).end()
    })
    const { url, key } = await startFlow(t, upstream.origin)
    const answer = await call(url, { key })
    t.not(answer.status, 401)
    t.same([answer.headers['www-authenticate'], answer.headers['proxy-authenticate'], answer.headers['set-cookie']], [undefined, undefined, undefined])
  }
})

for (const id of [0, -1, 1.5, 'a', '', null]) {
  t.test(`P1: a refusal echoes the id ${JSON.stringify(id)}`, async (t) => {
    const upstream = await startUpstream(t)
    const { url } = await startFlow(t, upstream.origin)
    t.equal((await call(url, { body: JSON.stringify({ jsonrpc: '2.0', id, method: 'ping' }) })).json().id, id)
  })
}

t.test('F6: without a principal a call passes where the policy allows it, with no credential of anybody', async (t) => {
  const upstream = await startUpstream(t)
  const { url, sidecar } = await startFlow(t, upstream.origin, 'anonymous: [no_principal]')
  const answer = await call(url, { headers: { authorization: 'Bearer own', 'x-api-key': 'own', cookie: 'a=b' } })
  t.equal(answer.status, 200)
  t.same([...sent(upstream.seen[0]), upstream.seen[0]?.headers.cookie], [undefined, undefined, undefined])
  t.match(await sidecar.until(({ event }) => event === 'anonymous'), { reason: 'no_principal', upstream: 'tools' })
})

t.test('F6: a wrong key is refused there all the same', async (t) => {
  const upstream = await startUpstream(t)
  const { url } = await startFlow(t, upstream.origin, 'anonymous: [no_principal]')
  t.equal(errorCode(await call(url, { key: 'vk_' + 'b'.repeat(43) })), 'ERR_SESSION_UNKNOWN')
  t.equal(upstream.seen.length, 0)
})

t.test('F6: an upstream that wants a credential after all is a 502, as a 401 would start a login', async (t) => {
  const upstream = await startUpstream(t, guarded(() => false))
  const { url } = await startFlow(t, upstream.origin, 'anonymous: [no_principal]')
  t.equal(errorCode(await call(url)), 'ERR_UPSTREAM_UNAUTHORIZED')
  t.equal(upstream.seen.length, 1)
})

t.test('F5: a refresh that fails lets the call out without a credential where the policy allows it', async (t) => {
  const upstream = await startUpstream(t, (seen, response, request) => {
    if (seen.headers.authorization === undefined) return answerJson(seen, response)
    guarded(() => false)(seen, response, request)
  })
  const { url, key, sidecar } = await startRotating(t, upstream.origin, {
    upstream: 'anonymous: [refresh_failed], deadline: 200ms',
    issuer: { onTokenRequest: () => ({ status: 503 }) },
  })
  t.equal((await call(url, { key })).status, 200)
  t.same(sent(upstream.seen.at(-1)), [undefined, undefined])
  t.match(await sidecar.until(({ event }) => event === 'anonymous'), { reason: 'refresh_failed', principal: 'alice' })
})

t.test('F5: so it does for a first token that is not to be had', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key } = await startFlow(t, upstream.origin, 'anonymous: [refresh_failed], deadline: 200ms', { env: { ALICE: 'not a token' } })
  t.equal((await call(url, { key })).status, 200)
  t.same(sent(upstream.seen[0]), [undefined, undefined])
})

t.test('F5: where the policy does not, it is a 503 with Retry-After, or a 502 for a grant that is over', async (t) => {
  const upstream = await startUpstream(t, guarded(() => false))
  for (const [status, error, code] of [[503, 'temporarily_unavailable', 'ERR_CREDENTIAL_UNAVAILABLE'], [400, 'invalid_grant', 'ERR_CREDENTIAL_REVOKED']] as const) {
    const { url, key } = await startRotating(t, upstream.origin, {
      upstream: 'deadline: 200ms',
      issuer: { onTokenRequest: () => ({ status, body: { error } }) },
    })
    const answer = await call(url, { key })
    t.equal(errorCode(answer), code)
    t.equal(answer.headers['retry-after'] === undefined, code === 'ERR_CREDENTIAL_REVOKED')
    t.equal(answer.status, code === 'ERR_CREDENTIAL_REVOKED' ? 502 : 503)
  }
})

t.test('O6: with relay_authorization a caller without a key keeps its own headers, and reads the upstream\'s own 401', async (t) => {
  const upstream = await startUpstream(t, guarded((token) => token === 'own'))
  const more = 'callers: { relay_authorization: true }'
  const { url, key, env } = await startFlow(t, upstream.origin, '', { more })
  const taken = await call(url, { headers: { authorization: 'Bearer own', 'x-api-key': 'own-key', cookie: 'a=b' } })
  t.equal(taken.status, 200)
  t.same([...sent(upstream.seen[0]), upstream.seen[0]?.headers.cookie], ['Bearer own', 'own-key', undefined])
  const refused = await call(url, { headers: { authorization: 'Bearer other' } })
  t.same([refused.status, refused.headers['www-authenticate']], [401, undefined])
  await call(url, { key, headers: { authorization: 'Bearer own' } })
  t.same(sent(upstream.seen[2]), both(env.ALICE as string), 'one with a key gets its principal\'s')
  t.equal(errorCode(await call(url)), 'ERR_SESSION_REQUIRED', 'one with nothing is still nobody')
})

t.test('H1: a principal without a credential here is refused, and nothing is sent', async (t) => {
  const upstream = await startUpstream(t)
  const { url, sidecar } = await startFlow(t, upstream.origin, 'anonymous: [no_principal, refresh_failed]', { more: '  bob: {}' })
  const answer = await call(url, { key: await sidecar.keyFor('bob') })
  t.same([answer.status, errorCode(answer)], [403, 'ERR_CREDENTIAL_MISSING'])
  t.equal(upstream.seen.length, 0)
  t.match(await sidecar.until(({ event }) => event === 'denied'), { principal: 'bob', agent: 'tester', code: 'ERR_CREDENTIAL_MISSING' })
})

t.test('H1: several upstreams live side by side, each behind its own path', async (t) => {
  const [one, two] = [await startUpstream(t), await startUpstream(t)]
  const [first, second] = [freshToken(), freshToken()]
  const sidecar = await startSidecar(t, `
upstreams:
  one: { url: "${one.origin}/mcp" }
  two: { url: "${two.origin}/deep/er/mcp", path: /other/place }
principals:
  alice: { credentials: { one: { type: api_token, token: { env: A } }, two: { type: api_token, token: { env: B } } } }
`, { env: { A: first, B: second } })
  const key = await sidecar.keyFor('alice')
  t.equal((await call(`${sidecar.proxyUrl}/one/mcp`, { key })).status, 200)
  t.equal((await call(`${sidecar.proxyUrl}/other/place`, { key })).status, 200)
  t.equal((await call(`${sidecar.proxyUrl}/two/mcp`, { key })).status, 404)
  t.equal((await call(`${sidecar.proxyUrl}/one/mcpx`, { key })).status, 404)
  t.equal((await call(`${sidecar.proxyUrl}/ONE/mcp`, { key })).status, 404)
  t.same([one.seen[0]?.url, sent(one.seen[0])], ['/mcp', both(first)])
  t.same([two.seen[0]?.url, sent(two.seen[0])], ['/deep/er/mcp', both(second)])
  t.same([one.seen.length, two.seen.length], [1, 1])
})

for (const [base, expected] of [['', '/'], ['/', '/'], ['/mcp', '/mcp'], ['/mcp/', '/mcp/'], ['/a/b', '/a/b']] as const) {
  t.test(`H1: an upstream at "${base}" is called to the letter, and below it with path and query`, async (t) => {
    const upstream = await startUpstream(t)
    const token = freshToken()
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}${base}" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: A } } } } }
`, { env: { A: token } })
    const key = await sidecar.keyFor('alice')
    const root = expected.replace(/\/$/, '')
    const asked = ['', '?a=1&a=%20&b', '/', '/below', '/below/?q=/../x', '/a%20b%C3%A9;c=d@:', '/x?y=?z']
    for (const below of asked) t.equal((await call(`${sidecar.proxyUrl}/tools/mcp${below}`, { key })).status, 200, below)
    t.same(upstream.seen.map(({ url }) => url), [expected, expected + '?a=1&a=%20&b', ...asked.slice(2).map((below) => root + below)])
  })
}

t.test('H1: a redirect below the upstream leads to the same place behind the sidecar, any other leads nowhere', async (t) => {
  let location = ''
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(307, { location }).end() })
  const { url, key } = await startFlow(t, upstream.origin)
  const cases = [
    [`${upstream.origin}/mcp/next?x=1`, '/tools/mcp/next?x=1'], ['/mcp', '/tools/mcp'], ['mcp/rel', '/tools/mcp/rel'],
    ['http://elsewhere.example/mcp', undefined], ['/other', undefined], ['//elsewhere.example/mcp', undefined], ['http://[', undefined],
  ] as const
  for (const [given, shown] of cases) {
    location = given
    const answer = await call(url, { key })
    t.same([answer.status, answer.headers.location], [307, shown], given)
  }
  t.equal(upstream.seen.length, cases.length, 'and none was followed')
})
