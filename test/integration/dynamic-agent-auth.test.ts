import { once } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { testClock } from '../helpers/clock.js'
import { freshToken, open, piece, startFlow, startRotating } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

t.test('P3: an agent made at run time can call until it is revoked', async (t) => {
  const upstream = await startUpstream(t)
  const { url, sidecar } = await startFlow(t, upstream.origin)
  const { id, key, expiresAt } = await sidecar.sessions.create({ principal: 'alice', agent: 'late-comer' })
  t.equal(expiresAt, undefined)
  const named = (): string[] => sidecar.sessions.list().filter(({ agent }) => agent === 'late-comer').map(({ id }) => id)
  t.same(named(), [id])
  t.equal((await call(url, { key: key.reveal() })).status, 200)
  t.ok(await sidecar.sessions.revoke(id))
  const answer = await call(url, { key: key.reveal(), body: rpc('ping', {}, 9) })
  t.same([answer.status, errorCode(answer), answer.json().id], [401, 'ERR_SESSION_UNKNOWN', 9])
  t.equal(upstream.seen.length, 1)
  t.same(named(), [])
  t.notOk(await sidecar.sessions.revoke(id), 'there is nothing left to revoke')
})

t.test('P3: revoking one agent leaves the others of its principal alone', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const { id } = await sidecar.sessions.create({ principal: 'alice', agent: 'two' })
  await sidecar.sessions.revoke(id)
  t.equal((await call(url, { key })).status, 200)
})

t.test('P1: a session ends with its ttl', async (t) => {
  const clock = testClock()
  const upstream = await startUpstream(t)
  const { url, sidecar } = await startFlow(t, upstream.origin, '', { clock })
  const { key, expiresAt } = await sidecar.sessions.create({ principal: 'alice', agent: 'brief', ttlMs: 3_600_000 })
  t.ok((expiresAt as number) > clock.now())
  t.equal((await call(url, { key: key.reveal() })).status, 200)
  clock.jump(3_600_001)
  const answer = await call(url, { key: key.reveal() })
  t.same([answer.status, errorCode(answer)], [401, 'ERR_SESSION_EXPIRED'])
  t.equal(answer.headers['www-authenticate'], 'Bearer realm="mcp-valet", error="invalid_token"')
})

t.test('P3: a key opens its session in either header', async (t) => {
  const upstream = await startUpstream(t)
  const { url, key, env } = await startFlow(t, upstream.origin)
  for (const headers of [{ 'X-SESSION-KEY': key }, { authorization: `Bearer ${key}` }, { authorization: `bearer   ${key}` }]) {
    t.equal((await call(url, { headers })).status, 200)
    t.equal(upstream.seen.at(-1)?.headers['x-api-key'], env.ALICE)
    t.notMatch(JSON.stringify(upstream.seen.at(-1)?.rawHeaders), key)
  }
})

t.test('P2: many agents of one principal share one credential and one refresh', async (t) => {
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token)))
  const { url, sidecar, first, issuer } = await startRotating(t, upstream.origin)
  refused.add(first)
  const keys = await Promise.all(Array.from({ length: 25 }, async (_, i) => await sidecar.keyFor('alice', `agent-${i}`)))
  t.equal(new Set(keys).size, 25)
  const answers = await Promise.all(keys.map(async (key) => await call(url, { key })))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(issuer.requests.refresh_token.ok, 1)
  const tokens = new Set(upstream.seen.map(({ headers }) => headers['x-api-key']))
  t.equal(tokens.size, 2, 'the old one and the new one')
})

t.test('P3: a principal that nobody configured gets no session', async (t) => {
  const upstream = await startUpstream(t)
  const { sidecar } = await startFlow(t, upstream.origin)
  await t.rejects(sidecar.sessions.create({ principal: 'mallory', agent: 'x' }), { name: 'ControlError', code: 'ERR_PRINCIPAL_UNKNOWN' })
  await t.rejects(sidecar.sessions.create({ principal: '__proto__', agent: 'x' }), { code: 'ERR_PRINCIPAL_UNKNOWN' })
  t.same(sidecar.sessions.list().map(({ principal }) => principal), ['alice'])
})

for (const agent of ['', ' led', 'a\nb', '\u202e', 'x'.repeat(129), '\u0000']) {
  t.test(`P3: ${JSON.stringify(agent.slice(0, 8))} (${agent.length}) is no name for an agent`, async (t) => {
    const upstream = await startUpstream(t)
    const { sidecar } = await startFlow(t, upstream.origin)
    await t.rejects(sidecar.sessions.create({ principal: 'alice', agent }), { code: 'ERR_REQUEST_INVALID', details: [{ path: 'agent', message: /1 to 128 printable/ }] })
  })
}

t.test('P3: a stream that is open when its session is revoked ends at once; a new one is refused', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') })
  const { url, sidecar } = await startFlow(t, upstream.origin)
  const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: 'listener' })
  const { request, head } = open(url, { method: 'GET', key: key.reveal() })
  t.equal(await piece(await head), 'data: 1\n\n')
  const ended = once(request, 'close')
  await sidecar.sessions.revoke(id)
  await ended
  t.equal((await call(url, { method: 'GET', key: key.reveal() })).status, 401)
})

t.test('row 44: two principals never get each other\'s token, however their calls interleave', async (t) => {
  const principals = ['alice', 'bob', 'carol']
  const env: Record<string, string> = {}
  const owner = new Map<string, string>()
  const renew = (principal: string): void => {
    const token = freshToken()
    owner.set(token, principal)
    env[principal.toUpperCase()] = token
  }
  for (const principal of principals) renew(principal)
  const refused = new Set<string>()
  // Each call says in its body whose it is; a token of anybody else would be a leak.
  const leaks: string[] = []
  const upstream = await startUpstream(t, (seen, response, request) => {
    const said = (JSON.parse(seen.body.toString()) as { params: { principal: string } }).params.principal
    const token = String(seen.headers['x-api-key'])
    if (owner.get(token) !== said || seen.headers.authorization !== `Bearer ${token}`) leaks.push(said)
    guarded((token) => !refused.has(token))(seen, response, request)
  })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
${principals.map((id) => `  ${id}: { credentials: { tools: { type: api_token, token: { env: ${id.toUpperCase()} } } } }`).join('\n')}
`, { env })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const keys = await Promise.all(principals.map(async (principal) => await Promise.all([0, 1].map(async (n) => await sidecar.keyFor(principal, `agent-${n}`)))))
  const step = fc.oneof(
    { weight: 9, arbitrary: fc.record({ do: fc.constant('call' as const), who: fc.nat(2), agent: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('rotate' as const), who: fc.nat(2) }) })

  await fc.assert(fc.asyncProperty(fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 4 }), async (rounds) => {
    for (const round of rounds) {
      const answers = await Promise.all(round.map(async (step) => {
        const principal = principals[step.who] as string
        if (step.do === 'call') return await call(url, { key: keys[step.who]?.[step.agent] as string, body: rpc('ping', { principal }) })
        refused.add(env[principal.toUpperCase()] as string)
        renew(principal)
        return undefined
      }))
      if (leaks.length > 0) return false
      // A token may be replaced twice within one call, and then its second refusal is final; nobody is ever answered for another.
      if (answers.some((answer) => answer !== undefined && answer.status !== 200 && errorCode(answer) !== 'ERR_UPSTREAM_UNAUTHORIZED')) return false
    }
    return true
  }), { numRuns: 40 })
  t.same(leaks, [])
  t.ok(upstream.seen.length > 0)
})
