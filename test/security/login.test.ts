import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { Canaries } from '../helpers/canary.js'
import { callbackOf, oneTool, startLogin } from '../helpers/login.js'
import { answer, challenge, ISSUER_PATH, RESOURCE_PATH, serverMetadata, startLoginPeer, type LoginPeer, type Reply } from '../helpers/login-peer.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startUpstream } from '../helpers/upstream.js'

/** A login whose login page was left by the right answer, unless another is given. */
async function answered (t: Test, peer: LoginPeer, parameters: Record<string, string | undefined> = {}) {
  const run = startLogin(t, oneTool(peer.mcp))
  const address = await run.person.visited()
  const response = await fetch(callbackOf(address, { code: peer.tokens.code, iss: peer.origin, ...parameters }))
  return { ...run, address, status: response.status, headers: response.headers, html: await response.text() }
}

t.test('the right answer to the login page logs in', async (t) => {
  const peer = await startLoginPeer(t)
  const { status, result, saved } = await answered(t, peer)
  t.equal(status, 200)
  t.match(await result, { issuer: peer.origin, clientId: 'registered' })
  t.match(saved, [{ given: { access_token: peer.tokens.access, refresh_token: peer.tokens.refresh, expires_in: Number } }])
})

t.test('an answer with a wrong state is ignored, and the right one still counts', async (t) => {
  const peer = await startLoginPeer(t)
  const { person, result } = startLogin(t, oneTool(peer.mcp))
  const address = await person.visited()
  const wrong = ['', 'x'.repeat(43), (address.searchParams.get('state') as string).slice(1)]
  for (const state of wrong) {
    const response = await fetch(callbackOf(address, { code: 'theirs', iss: peer.origin, state }))
    t.equal(response.status, 400)
    t.match(await response.text(), '<h1>Not this login</h1>')
  }
  const twice = callbackOf(address, { code: 'theirs' })
  twice.searchParams.append('state', 'another')
  t.equal((await fetch(twice)).status, 400, 'nor is one with two states')
  t.equal((await fetch(callbackOf(address, { code: 'theirs', state: undefined }).href.replace(/state=[^&]*/, ''))).status, 400, 'nor one with none')
  t.same(peer.at('/token'), [])
  await fetch(callbackOf(address, { code: peer.tokens.code, iss: peer.origin }))
  await result
  t.equal(new URLSearchParams(peer.at('/token')[0]?.body.toString()).get('code'), peer.tokens.code)
  t.equal(person.lines.filter((line) => line.includes('does not belong to this login')).length, 5)
})

for (const [what, iss] of [['of another issuer', 'https://other.example'], ['that names no issuer although issuers here do', undefined]] as const) {
  t.test(`an answer ${what} is refused, and its code goes nowhere (RFC 9207)`, async (t) => {
    const peer = await startLoginPeer(t)
    const { status, html, result, saved } = await answered(t, peer, { iss })
    t.equal(status, 200)
    t.match(html, '<h1>Not logged in</h1>')
    await t.rejects(result, { name: 'LoginError', message: /does not come from the issuer .*RFC 9207/ })
    t.same(peer.at('/token'), [])
    t.same(saved, [])
  })
}

t.test('an answer that names two issuers is refused', async (t) => {
  const peer = await startLoginPeer(t)
  const { person, result } = startLogin(t, oneTool(peer.mcp))
  const back = callbackOf(await person.visited(), { code: 'x', iss: peer.origin })
  back.searchParams.append('iss', 'https://other.example')
  await fetch(back)
  await t.rejects(result, { message: /RFC 9207/ })
})

t.test('an answer is taken once: a replay gets nothing, during the login and after it', async (t) => {
  let replay: Promise<number> | undefined
  let back = ''
  const peer = await startLoginPeer(t, (_origin, { access, refresh }) => ({
    '/token': (seen, response, request) => {
      replay = fetch(back).then(({ status }) => status)
      void replay.then(() => answer(200, { access_token: access, token_type: 'Bearer', refresh_token: refresh })(seen, response, request))
    },
  }))
  const { person, result } = startLogin(t, oneTool(peer.mcp))
  back = callbackOf(await person.visited(), { code: 'once', iss: peer.origin }).href
  await fetch(back)
  await result
  t.equal(await replay, 410)
  t.equal(peer.at('/token').length, 1)
  await t.rejects(fetch(back), 'nobody listens any more')
})

t.test('what an issuer says of an error is shown as text, and is bounded', async (t) => {
  const peer = await startLoginPeer(t)
  const hostile = `<script>alert(1)</script>"'&\u001b[2J\u0007${'x'.repeat(4_000)}`
  const { html, headers, person, result } = await answered(t, peer, { code: undefined, error: '<img src=x>', error_description: hostile })
  t.notMatch(html, /<(?!!doctype|\/?(?:html|meta|title|h1|p)\b)/, 'no element but those of the page')
  t.match(html, '&lt;img src=x&gt;: “&lt;script&gt;alert(1)&lt;/script&gt;')
  t.ok(html.length < 1_000)
  t.match(headers.get('content-security-policy'), "default-src 'none'")
  t.match(Object.fromEntries(headers), { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' })
  const { message } = await result.catch((error: Error) => error) as Error
  // eslint-disable-next-line no-control-regex -- they are what must not be there
  t.notMatch([message, ...person.lines].join(''), /[\0-\x1f\x7f]/)
  t.ok(message.length < 500)
})

t.test('an answer with neither a code nor an error is told as such', async (t) => {
  const peer = await startLoginPeer(t)
  const { result } = await answered(t, peer, { code: undefined })
  await t.rejects(result, { message: /neither a code nor an error/ })
})

const ISSUERS: ReadonlyArray<[what: string, replies: (origin: string) => Record<string, Reply>, message: RegExp]> = [
  ['of another issuer', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), issuer: 'https://other.example' } }), /names another issuer/],
  ['of an issuer below it', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), issuer: `${origin}/tenant` } }), /names another issuer/],
  ['whose issuer is spelt with what no URL has', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), issuer: `${origin}\u001b` } }), /no authorization server metadata/],
  ['without S256', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), code_challenge_methods_supported: ['plain'] } }), /PKCE with S256/],
  ['without any method of PKCE', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), code_challenge_methods_supported: undefined } }), /PKCE with S256/],
  ['that is none', () => ({ [ISSUER_PATH]: answer(200, '<html>') }), /no authorization server metadata/],
  ['that is a list', () => ({ [ISSUER_PATH]: answer(200, '[]') }), /no authorization server metadata/],
  ['that is a redirect', (origin) => ({ [ISSUER_PATH]: answer(302, {}, { location: `${origin}/elsewhere` }) }), /HTTP 302, a redirect, which is not followed/],
  ['that is too large', () => ({ [ISSUER_PATH]: answer(200, `{"x":"${'x'.repeat(300_000)}"}`) }), /larger than 256 KiB/],
  ['whose login page is a script', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), authorization_endpoint: 'javascript:alert(1)' } }), /authorization_endpoint that is not safe/],
  ['whose login page is a file', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), authorization_endpoint: 'file:///bin/sh' } }), /authorization_endpoint that is not safe/],
  ['whose tokens would cross a network in the clear', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), token_endpoint: 'http://id.example/token' } }), /token_endpoint that is not safe/],
  ['whose tokens come from nowhere', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), token_endpoint: undefined } }), /names no token_endpoint/],
  ['whose clients would register in the clear', (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), registration_endpoint: 'http://id.example/register' } }), /registration_endpoint that is not safe/],
]

for (const [what, replies, message] of ISSUERS) {
  t.test(`metadata of an issuer ${what} ends the login`, async (t) => {
    const peer = await startLoginPeer(t, replies)
    const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
    await t.rejects(result, { name: 'LoginError', message })
    t.same(person.visits, [])
    t.same(saved, [])
    t.same(peer.at('/elsewhere'), [])
  })
}

const RESOURCES: ReadonlyArray<[what: string, replies: (origin: string) => Record<string, Reply>, message: RegExp]> = [
  ['of another resource', (origin) => ({ [RESOURCE_PATH]: { resource: 'https://other.example/mcp', authorization_servers: [origin] } }), /metadata of another resource than .*\/mcp$/],
  ['of another path', (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/other`, authorization_servers: [origin] } }), /another resource than .* put resource: .*\/other into/],
  ['of the whole host', (origin) => ({ [RESOURCE_PATH]: { resource: origin, authorization_servers: [origin] } }), /if tokens for http:\/\/127\.0\.0\.1:\d+ are meant for this upstream/],
  ['whose resource is spelt with what no URL has', (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp\u001b`, authorization_servers: [origin] } }), /another resource/],
  ['that is none', () => ({ [RESOURCE_PATH]: answer(200, 'null') }), /no protected-resource metadata/],
  ['without a resource', (origin) => ({ [RESOURCE_PATH]: { authorization_servers: [origin] } }), /no protected-resource metadata/],
  ['without an authorization server', (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp` } }), /names no authorization server/],
  ['whose authorization servers are none', (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [7, 'x', 'file:///etc/passwd', 'https://u:p@id.example'] } }), /names no authorization server/],
  ['whose authorization server has no TLS', (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: ['http://id.example'] } }), /without TLS, http:\/\/id\.example/],
  ['that is a redirect', (origin) => ({ [RESOURCE_PATH]: answer(302, {}, { location: `${origin}/elsewhere` }) }), /HTTP 302 .*a redirect is not followed there/],
  ['that fails', () => ({ [RESOURCE_PATH]: answer(500, {}) }), /HTTP 500/],
  ['that is not where it is said to be', (origin) => ({ '/mcp': challenge(`resource_metadata="${origin}/nowhere"`) }), /HTTP 404 where its metadata should be/],
  ['that is named by half an address', () => ({ '/mcp': challenge('resource_metadata="/nowhere"') }), /at another place than itself/],
  ['that is named with a password', (origin) => ({ '/mcp': challenge(`resource_metadata="${origin.replace('//', '//u:p@')}${RESOURCE_PATH}"`) }), /at another place than itself/],
]

for (const [what, replies, message] of RESOURCES) {
  t.test(`metadata of an upstream ${what} ends the login before anybody is asked`, async (t) => {
    const peer = await startLoginPeer(t, replies)
    const { person, result } = startLogin(t, oneTool(peer.mcp))
    await t.rejects(result, { name: 'LoginError', message })
    t.same(person.questions, [])
    t.same([...peer.at('/elsewhere'), ...peer.at(ISSUER_PATH)], [])
  })
}

t.test('row 40: metadata that an upstream names elsewhere is not asked for', async (t) => {
  const elsewhere = await startUpstream(t)
  const peer = await startLoginPeer(t, () => ({ '/mcp': challenge(`resource_metadata="${elsewhere.origin}${RESOURCE_PATH}"`) }))
  await t.rejects(startLogin(t, oneTool(peer.mcp)).result, { message: /at another place than itself/ })
  t.same(elsewhere.seen, [])
})

t.test('row 40: an issuer that an upstream names is not asked anything before a person agreed to it', async (t) => {
  const issuer = await startLoginPeer(t)
  const peer = await startLoginPeer(t, (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [issuer.origin] } }))
  const { person, result } = startLogin(t, oneTool(peer.mcp), { agrees: false })
  await t.rejects(result, { message: /^cancelled/ })
  t.match(person.lines, [`The upstream tools (${peer.mcp}) says that its tokens come from ${issuer.origin}.`])
  t.same(issuer.seen, [])
})

t.test('row 40: a client secret of the config goes to no issuer that the config does not name', async (t) => {
  const peer = await startLoginPeer(t)
  for (const credential of ['{ client_id: agents, client_secret: { env: SECRET } }', `{ client_id: agents, client_secret: { env: SECRET }, token_endpoint: "${peer.origin}/token" }`]) {
    t.throws(() => startLogin(t, oneTool(peer.mcp, credential), { env: { SECRET: 'x' } }), { name: 'LoginError' })
  }
})

const TOKENS: ReadonlyArray<[what: string, reply: Reply, message: RegExp]> = [
  ['that is no JSON', answer(200, '<html>'), /no JSON object/],
  ['without an access token', { token_type: 'Bearer' }, /its answer is not what RFC 6749 §5\.1 asks for/],
  ['whose access token no header could carry', { access_token: 'a\r\nb', token_type: 'Bearer' }, /no usable token/],
  ['of another kind of token', { access_token: 'abc', token_type: 'mac' }, /its answer is not what RFC 6749/],
  ['whose token needs a key that nobody here has', { access_token: 'abc', token_type: 'DPoP' }, /its token is of another type than Bearer/],
  ['whose refresh token is none', { access_token: 'abc', token_type: 'Bearer', refresh_token: 'a\u0000b' }, /no usable refresh token/],
  ['that refuses the code', answer(400, { error: 'invalid_grant', error_description: '<b>' }), /HTTP 400 with invalid_grant: log in again$/],
  ['that is an error with 200', { error: 'invalid_target' }, /invalid_target: set resource to what the issuer knows, or to none;/],
  ['that is a redirect', answer(307, {}, { location: 'http://127.0.0.1:1/' }), /a redirect is never followed/],
]

for (const [what, reply, message] of TOKENS) {
  t.test(`a token answer ${what} ends the login`, async (t) => {
    const peer = await startLoginPeer(t, () => ({ '/token': reply }))
    const { html, saved, result } = await answered(t, peer)
    await t.rejects(result, { name: 'LoginError', message })
    t.match(html, '<h1>Not logged in</h1>')
    t.same(saved, [])
  })
}

const REGISTRATIONS: ReadonlyArray<[what: string, reply: Reply, message: RegExp]> = [
  ['refuses', answer(400, { error: 'invalid_redirect_uri', error_description: 'no \u001b[2J loopback' }), /\(invalid_redirect_uri: no \[2J loopback\): register one there by hand/],
  ['answers with nonsense', answer(201, '{"client_id":7}'), /HTTP 201\) is not what RFC 7591 asks for/],
  ['wants a token first', answer(401, {}, { 'www-authenticate': 'Bearer' }), /HTTP 401\) is not what RFC 7591 asks for/],
  ['gives a client that nobody can be', answer(201, { client_id: 'x', client_secret: 'y', client_secret_expires_at: 0, token_endpoint_auth_method: 'tls_client_auth' }), /cannot be used from here/],
  ['gives an id with line breaks', answer(201, { client_id: 'x\r\ny' }), /cannot be used from here/],
]

for (const [what, reply, message] of REGISTRATIONS) {
  t.test(`a registration that ${what} ends the login and says what to do`, async (t) => {
    const peer = await startLoginPeer(t, () => ({ '/register': reply }))
    const { person, result } = startLogin(t, oneTool(peer.mcp))
    await t.rejects(result, { name: 'LoginError', message })
    t.same(person.visits, [])
  })
}

t.test('a port that is taken is told with what to do', async (t) => {
  const peer = await startLoginPeer(t)
  const port = Number(new URL(peer.origin).port)
  await t.rejects(startLogin(t, oneTool(peer.mcp), { redirectPort: port }).result, { message: new RegExp(`^port ${port} on 127\\.0\\.0\\.1 is in use: .*--redirect-port`) })
})

t.test('nobody comes: the login ends, and so does the listener', async (t) => {
  const peer = await startLoginPeer(t)
  const { person, saved, result } = startLogin(t, oneTool(peer.mcp), { timeoutMs: 50 })
  await t.rejects(result, { message: /in time: .*--timeout/ })
  await t.rejects(fetch(callbackOf(await person.visited(), { code: 'late', iss: peer.origin })))
  t.same(saved, [])
})

t.test('who is told to stop stops, wherever it stands', async (t) => {
  const held: Array<(value: unknown) => void> = []
  const hang: Reply = () => { held.forEach((tell) => tell(undefined)) }
  for (const path of ['/mcp', RESOURCE_PATH, ISSUER_PATH, '/register']) {
    const reached = new Promise((resolve) => held.push(resolve))
    const peer = await startLoginPeer(t, () => ({ [path]: hang }))
    const stop = new AbortController()
    const { result, saved } = startLogin(t, oneTool(peer.mcp), { stop: stop.signal })
    await reached
    stop.abort()
    await t.rejects(result, { message: /^cancelled: nobody was logged in/ }, path)
    t.same(saved, [])
  }
  const peer = await startLoginPeer(t)
  const stop = new AbortController()
  const { person, result } = startLogin(t, oneTool(peer.mcp), { stop: stop.signal })
  await person.visited()
  stop.abort()
  await t.rejects(result, { message: /^cancelled/ }, 'at the login page')
})

t.test('a login that is stopped while its code is redeemed keeps nothing', async (t) => {
  const stop = new AbortController()
  const peer = await startLoginPeer(t, (_origin, { access }) => ({
    '/token': (seen, response, request) => {
      stop.abort()
      answer(200, { access_token: access, token_type: 'Bearer' })(seen, response, request)
    },
  }))
  const { person, saved, result } = startLogin(t, oneTool(peer.mcp), { stop: stop.signal })
  await fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }))
  await t.rejects(result, { message: /^cancelled/ })
  t.same(saved, [])
})

t.test('the listener takes a GET of its own path under its own name, and nothing else', async (t) => {
  const peer = await startLoginPeer(t)
  const { person, result } = startLogin(t, oneTool(peer.mcp))
  const right = callbackOf(await person.visited(), { code: peer.tokens.code, iss: peer.origin })
  const status = async (line: string, host = right.host): Promise<number> => (await sendRaw(right.origin, requestText(line, [`Host: ${host}`, 'Content-Length: 0']))).status
  const path = right.pathname + right.search
  t.equal(await status(`GET ${path} HTTP/1.1`, 'evil.example'), 403, 'a page elsewhere whose name leads here')
  t.equal(await status(`POST ${path} HTTP/1.1`), 405)
  t.equal(await status('GET /favicon.ico HTTP/1.1'), 404)
  t.equal(await status(`GET ${right.href} HTTP/1.1`), 404, 'a whole address in place of a path')
  t.equal((await sendRaw(right.origin, 'nonsense\r\n\r\n')).status, 0)
  t.equal(await status(`GET ${right.pathname}?state=${'x'.repeat(20_000)} HTTP/1.1`), 0)
  t.equal((await fetch(right)).status, 200, 'and then the right one')
  await result
})

t.test('a browser that goes away leaves the login as it is', async (t) => {
  const gone = new AbortController()
  const peer = await startLoginPeer(t, (_origin, { access, refresh }) => ({
    '/token': (seen, response, request) => {
      gone.abort()
      answer(200, { access_token: access, token_type: 'Bearer', refresh_token: refresh })(seen, response, request)
    },
  }))
  const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
  await t.rejects(fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }), { signal: gone.signal }))
  await result
  t.equal(saved.length, 1)
})

t.test('row 46: no token, code or verifier is said to the person or the browser, whatever happens', async (t) => {
  for (const replies of [{}, { '/token': answer(500, { error: 'server_error' }) }]) {
    const peer = await startLoginPeer(t, () => replies)
    const { html, headers, person, result } = await answered(t, peer)
    const told = await result.then((loggedIn) => JSON.stringify(loggedIn), (error: Error) => `${error.message} ${error.stack}`)
    const canaries = new Canaries()
    for (const [name, token] of Object.entries(peer.tokens)) canaries.add(name, token)
    const verifier = new URLSearchParams(peer.at('/token')[0]?.body.toString()).get('code_verifier') as string
    canaries.add('verifier', verifier)
    t.same(canaries.findIn([html, [...headers].join('\n'), ...person.lines, ...person.questions, told].join('\n')), [])
  }
})

t.test('nobody answers where the upstream should be', async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  await t.rejects(startLogin(t, oneTool(`http://127.0.0.1:${port}/mcp`)).result, { message: 'the upstream tools cannot be reached (ECONNREFUSED)' })
})
