import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { createLog } from '../../src/telemetry/log.js'
import { call, rpc, type CallAnswer } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar, type StartOptions } from '../helpers/sidecar.js'
import { startUpstream, answerJson, guarded } from '../helpers/upstream.js'

/** A sidecar whose log is written at every level, and everything that anybody outside could read of it. */
async function watched (t: Test, yaml: string, canaries: Canaries, options: StartOptions = {}) {
  const lines: string[] = []
  const log = await createLog({ level: 'debug', destination: { write: (line: string) => { lines.push(line) } } })
  const sidecar = await startSidecar(t, yaml, { ...options, onEvent: log })
  const key = async (principal: string): Promise<string> => canaries.add(`session key of ${principal}`, await sidecar.keyFor(principal))
  const answers: CallAnswer[] = []
  return {
    sidecar,
    key,
    log: () => lines.join(''),
    async call (path: string, options: Parameters<typeof call>[1] = {}) {
      const answer = await call(sidecar.proxyUrl + path, options)
      answers.push(answer)
      return answer
    },
    /** Each place, and whose secret is there: nothing, it is hoped. */
    async leaks () {
      const places: Record<string, string> = { log: lines.join(''), answers: answers.map(({ headers, body }) => JSON.stringify(headers) + body).join('\n') }
      for (const path of ['/healthz', '/readyz', '/metrics', '/nope', '/v1/sessions']) {
        const response = await fetch(sidecar.adminUrl + path)
        places[path] = JSON.stringify([...response.headers]) + await response.text()
      }
      return Object.entries(places).flatMap(([place, text]) => canaries.findIn(text).map((name) => `${name} in ${place}`))
    },
  }
}

t.test('row 46: the search finds a secret in any form', (t) => {
  const canaries = new Canaries()
  const secret = canaries.add('it', mintToken() + '+/~=')
  for (const form of [secret, `x ${secret}y`, encodeURIComponent(secret), Buffer.from(secret).toString('hex').toUpperCase(), ...['', 'a', 'ab'].map((before) => Buffer.from(before + secret + 'tail').toString('base64')), secret.slice(0, 24), JSON.stringify({ secret })]) {
    t.same(canaries.findIn(form), ['it'], form)
  }
  t.same(canaries.findIn(mintToken()), [])
  t.end()
})

t.test('row 46: rotating refresh tokens: start, calls, 401s, refreshes, an issuer that fails and quotes', async (t) => {
  const canaries = new Canaries()
  const secret = canaries.add('client secret', mintToken('cs'))
  const folder = join(t.testdirName, 'state')
  t.testdir({})
  let trouble: 'none' | 'quote' | 'malformed' | 'no token' | 'disconnect' | 'revoked' = 'none'
  let quoted = ''
  const upstream = await startUpstream(t, guarded((token) => !revoked.has(token)))
  const revoked = new Set<string>()
  const issuer = await createIssuer({
    audience: `${upstream.origin}/mcp`,
    lifetime: 3600,
    clients: [{ id: 'agents', secret }],
    async onTokenRequest (params, next) {
      quoted = `${String(params.get('refresh_token'))} ${secret} ${canaries.add('access token', mintToken())}`
      if (trouble === 'disconnect') return 'disconnect'
      if (trouble === 'quote') return { status: 500, headers: { 'x-why': quoted.slice(0, 60) }, body: { error: quoted, error_description: quoted, error_uri: quoted } }
      if (trouble === 'malformed') return { status: 200, body: { access_token: `${quoted} with spaces`, token_type: quoted, expires_in: quoted as never } }
      if (trouble === 'no token') return { status: 200, body: { token: quoted } }
      if (trouble === 'revoked') return { status: 400, body: { error: 'invalid_grant', error_description: quoted } }
      const answer = await next()
      const { access_token: access, refresh_token: refresh } = answer.body as Record<string, string>
      if (access !== undefined) canaries.add('access token', access)
      if (refresh !== undefined) canaries.add('refresh token', refresh)
      return answer
    },
  })
  t.teardown(async () => { await issuer.close() })
  const first = await issuer.login('alice')
  canaries.add('first access token', first.access_token)
  canaries.add('first refresh token', first.refresh_token)
  revoked.add(first.access_token)

  const it = await watched(t, `
state: { driver: lmdb, path: "${folder}" }
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 700ms, replays: 1 } }
principals:
  alice: { credentials: { tools: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: agents, client_secret: { env: SECRET }, refresh_token: { env: REFRESH }, access_token: { env: ACCESS } } } }
`, canaries, { env: { SECRET: secret, REFRESH: first.refresh_token, ACCESS: first.access_token } })
  const key = await it.key('alice')

  const rejectAll = (): void => { for (const { headers } of upstream.seen) revoked.add(String(headers['x-api-key'])) }
  t.equal((await it.call('/tools/mcp', { key })).status, 200, 'refreshed and replayed')
  for (trouble of ['quote', 'malformed', 'no token', 'disconnect'] as const) {
    rejectAll()
    t.equal((await it.call('/tools/mcp', { key, body: rpc('tools/call', { name: 'x', arguments: { a: 1 } }) })).status, 503, trouble)
  }
  trouble = 'none'
  await it.sidecar.until((event) => event.event === 'refresh' && event.trigger === 'ahead' && event.outcome === 'ok')
  t.equal((await it.call('/tools/mcp', { key })).status, 200, 'mended')
  rejectAll()
  trouble = 'revoked'
  t.equal((await it.call('/tools/mcp', { key })).status, 502)
  for (const headers of [{ 'x-session-key': key + 'x' }, { authorization: `Bearer ${key}x` }, { 'x-session-key': key, host: 'evil.example' }, { 'x-session-key': key, origin: `https://${key}.example` }]) await it.call('/tools/mcp', { headers })
  for (const path of [`/${key}`, `/tools/mcp/.well-known/${key}`]) await it.call(path, { key })
  t.match(it.log(), /"outcome":"revoked"/)
  t.match(it.log(), /"level":"debug"/)
  t.same(await it.leaks(), [])

  await it.sidecar.close()
  for (const name of readdirSync(folder)) {
    t.same(canaries.findIn(readFileSync(join(folder, name)).toString('latin1')), [], `at rest, in ${name}`)
  }
})

t.test('row 46: a JSON refresh endpoint that quotes what it was sent', async (t) => {
  const canaries = new Canaries()
  const env = { REFRESH: canaries.add('refresh token', mintToken('rt')), HEADER: canaries.add('header secret', mintToken('hs')) }
  const answers = [
    () => ({ status: 200, text: 'not JSON: ' + JSON.stringify(env) }),
    () => ({ status: 200, text: JSON.stringify({ error: env.REFRESH }) }),
    () => ({ status: 200, text: JSON.stringify({ access_token: env.REFRESH + '\n' + env.HEADER }) }),
    () => ({ status: 401, text: JSON.stringify(env) }),
    () => ({ status: 200, text: JSON.stringify([env]) }),
    () => ({ status: 302, text: env.REFRESH }),
    () => ({ status: 200, text: JSON.stringify({ access_token: canaries.add('access token', mintToken()), refresh_token: { is: env.REFRESH } }) }),
  ]
  for (const answer of answers) {
    const upstream = await startUpstream(t)
    const endpoint = await startUpstream(t, (seen, response) => {
      canaries.add('body', seen.body.toString())
      const { status, text } = answer()
      response.writeHead(status, { 'content-type': 'application/json', 'retry-after': env.REFRESH, location: `/${env.REFRESH}`, 'www-authenticate': `Bearer error="${env.HEADER}"` }).end(text)
    })
    const it = await watched(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }
principals: { alice: { credentials: { tools: { type: json_refresh, url: "${endpoint.origin}/refresh", headers: { X-Auth: { env: HEADER } }, body: { token: "{refresh_token}" }, refresh_token: { env: REFRESH } } } } }
`, canaries, { env })
    t.equal((await it.call('/tools/mcp', { key: await it.key('alice') })).status, 503)
    await it.sidecar.until((event) => event.event === 'refresh')
    t.same(await it.leaks(), [], answer.toString())
  }
})

t.test('row 46: an upstream that quotes the token wherever it can outside its bodies', async (t) => {
  const canaries = new Canaries()
  const token = canaries.add('token', mintToken())
  let answer: (response: import('node:http').ServerResponse) => void = () => {}
  const upstream = await startUpstream(t, (_seen, response) => answer(response))
  const it = await watched(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, canaries, { env: { TOKEN: token } })
  const key = await it.key('alice')
  const quote = (status: number, extra: Record<string, string> = {}) => (response: import('node:http').ServerResponse) => {
    response.writeHead(status, `Because ${token}`, { 'x-echo': token, 'mcp-session-id': token, location: `/mcp/${token}`, 'set-cookie': token, 'www-authenticate': `Bearer realm="${token}", error="${token}"`, ...extra }).end()
  }
  const wire = (text: string) => (response: import('node:http').ServerResponse) => { response.socket?.end(text) }
  for (answer of [
    quote(200), quote(302), quote(400), quote(401), quote(401, { 'www-authenticate': `Bearer error="invalid_token", error_description="${token}"` }), quote(403), quote(500), quote(200, { 'content-type': `text/${token}` }),
    wire(`HTTP/1.1 ${token}\r\n\r\n`), wire(`${token}\r\n\r\n`), wire(`HTTP/1.1 200 OK\r\nX-A: ${token}\u0001\r\n\r\n`), wire(`HTTP/1.1 200 OK\r\nContent-Length: ${token}\r\n\r\n`),
    wire(`HTTP/1.1 200 OK\r\n${token} x: y\r\n\r\n`), wire(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${token}\r\n`), wire(`HTTP/1.1 101 ${token}\r\nUpgrade: ${token}\r\n\r\n`), wire(''),
  ]) await it.call('/tools/mcp', { key }).catch(() => {})
  t.same(await it.leaks(), [])
})

t.test('row 46: refusals hidden in a 200 that quote the token, and are replayed or given back', async (t) => {
  const canaries = new Canaries()
  const env = { TOKEN: canaries.add('token', mintToken()) }
  let refuses = (_token: string): boolean => true
  const upstream = await startUpstream(t, (seen, response) => {
    const token = String(seen.headers['x-api-key'])
    const refused = refuses(token)
    const data = refused ? { error: { code: -32001, message: 'no' } } : { result: {} }
    // The body of an answer is the upstream's own; that of a refusal which is replayed reaches nobody.
    const quoted = refused && refuses !== always ? { ...data, error: { ...data.error, data: { token } } } : data
    response.writeHead(200, `Because ${token}`, { 'content-type': seen.url.endsWith('sse') ? 'text/event-stream' : 'application/json', 'x-echo': token, 'mcp-session-id': token, 'www-authenticate': `Bearer realm="${token}"` })
    response.end(seen.url.endsWith('sse') ? `id: 1\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: 1, ...quoted })}\n\n` : JSON.stringify({ jsonrpc: '2.0', id: 1, ...quoted }))
  })
  const always = (): boolean => true
  for (const path of ['/tools/mcp', '/tools/mcp?sse']) {
    const it = await watched(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", refresh_on_answer: [{ error: { code: -32001 } }] } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, canaries, { env })
    const key = await it.key('alice')
    const old = env.TOKEN
    refuses = (token) => token === old
    env.TOKEN = canaries.add('token', mintToken())
    t.match((await it.call(path, { key })).body, '"result":{}')
    t.match(it.log(), /"reason":"refresh_on_answer\[0\]"/)
    refuses = always
    env.TOKEN = canaries.add('token', mintToken())
    t.match((await it.call(path, { key })).body, '-32001')
    t.same(await it.leaks(), [])
  }
})

t.test('row 46: a fault inside, whose message quotes a secret', async (t) => {
  const canaries = new Canaries()
  const token = canaries.add('token', mintToken())
  const upstream = await startUpstream(t, answerJson)
  let faulty = false
  const clock = { ...systemClock, elapsed () { if (faulty) throw new Error(`a fault with ${token}`); return systemClock.elapsed() } }
  const it = await watched(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, canaries, { env: { TOKEN: token }, clock })
  const key = await it.key('alice')
  faulty = true
  const answer = await it.call('/tools/mcp', { key })
  faulty = false
  t.equal(answer.status, 500)
  t.match(answer.json(), { error: { code: -32603, data: { code: 'ERR_INTERNAL', request_id: String } } })
  t.match(it.log(), /"event":"internal_error"/)
  t.same(await it.leaks(), [])
})
