import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import type { UpstreamConfig } from '../../../src/config/config.js'
import { discoverIssuer, endpoint } from '../../../src/login/issuer.js'
import { discoverResource } from '../../../src/login/protected-resource.js'
import { callbackOf, oneTool, startLogin } from '../../helpers/login.js'
import { answer, challenge, ISSUER_PATH, RESOURCE_PATH, serverMetadata, startLoginPeer, type LoginPeer } from '../../helpers/login-peer.js'
import { makeCa, makeCertificate } from '../../helpers/tls.js'

const never = new AbortController().signal

function upstreamAt (url: string): UpstreamConfig {
  return loadConfigText(oneTool(url), { env: {} }).upstreams.get('tools') as UpstreamConfig
}

const pathsOf = ({ seen }: LoginPeer): string[] => seen.map(({ method, url }) => `${method} ${url}`)

t.test('the metadata that the challenge names is read, and nothing else', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({
    '/mcp': challenge(`realm="x", resource_metadata="${origin}/meta", scope="read write"`),
    '/meta': { resource: `${origin}/mcp`, authorization_servers: [origin, 'https://second.example'], scopes_supported: ['other'] },
  }))
  t.match(await discoverResource(upstreamAt(peer.mcp), peer.mcp, never), {
    resource: peer.mcp, issuers: [new URL(peer.origin), new URL('https://second.example')], scope: 'read write',
  })
  t.same(pathsOf(peer), ['POST /mcp', 'GET /meta'])
  t.notOk(peer.seen[0]?.headers.authorization)
})

t.test('without a challenge the well-known places are asked, that of the path first', async (t) => {
  const described = (origin: string) => ({ resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: ['a', 'b', 7] })
  for (const plain of [answer(200, {}), answer(401, {}), answer(401, {}, { 'www-authenticate': 'Basic realm="x"' }), answer(401, {}, { 'www-authenticate': '"' })]) {
    const peer = await startLoginPeer(t, (origin) => ({ '/mcp': plain, [RESOURCE_PATH]: described(origin) }))
    t.match(await discoverResource(upstreamAt(peer.mcp), peer.mcp, never), { resource: peer.mcp, scope: 'a b' })
    t.same(pathsOf(peer), ['POST /mcp', `GET ${RESOURCE_PATH}`])
  }
  const root = await startLoginPeer(t, (origin) => ({ '/mcp': answer(401, {}), [RESOURCE_PATH]: answer(404, {}), '/.well-known/oauth-protected-resource': described(origin) }))
  await discoverResource(upstreamAt(root.mcp), root.mcp, never)
  t.same(pathsOf(root), ['POST /mcp', `GET ${RESOURCE_PATH}`, 'GET /.well-known/oauth-protected-resource'])
})

t.test('an upstream that is a whole host has one well-known place', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({ '/': answer(405, {}), '/.well-known/oauth-protected-resource': { resource: origin, authorization_servers: [origin] } }))
  t.match(await discoverResource(upstreamAt(peer.origin), peer.origin, never), { resource: peer.origin, scope: undefined })
  const silent = await startLoginPeer(t, () => ({ '/': answer(405, {}) }))
  await t.rejects(discoverResource(upstreamAt(silent.origin), silent.origin, never), { message: /does not say which authorization server .* --issuer$/ })
  t.equal(silent.seen.length, 2)
})

t.test('the resource may be the one that the config names', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({ [RESOURCE_PATH]: { resource: origin, authorization_servers: [origin] } }))
  t.match(await discoverResource(upstreamAt(peer.mcp), peer.origin, never), { resource: peer.origin })
  const run = startLogin(t, oneTool(peer.mcp, `{ resource: "${peer.origin}" }`))
  t.equal((await run.person.visited()).searchParams.get('resource'), peer.origin)
})

t.test('a scope that fits into no address is left out', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({
    '/mcp': challenge(`resource_metadata="${origin}${RESOURCE_PATH}", scope="bad\\"scope"`),
    [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: Array.from({ length: 5_000 }, (_, i) => `s${i}`) },
  }))
  t.equal((await discoverResource(upstreamAt(peer.mcp), peer.mcp, never)).scope, undefined)
})

t.test('over plain http nobody is believed who is not on this machine', async (t) => {
  await t.rejects(discoverResource(upstreamAt('http://mcp.example/mcp'), 'http://mcp.example/mcp', never), { message: /reached by plain http, .* --issuer$/ })
})

t.test('an upstream is asked as its tls says', async (t) => {
  const ca = await makeCa()
  const server = createServer(await makeCertificate(['localhost'], ca), (request, response) => {
    const origin = `https://localhost:${(server.address() as AddressInfo).port}`
    response.writeHead(request.url === '/mcp' ? 401 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: ['over-tls'] }))
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  t.teardown(async () => await new Promise((resolve) => { server.close(resolve); server.closeAllConnections() }))
  const url = `https://localhost:${(server.address() as AddressInfo).port}/mcp`
  await t.rejects(discoverResource(upstreamAt(url), url, never), { message: /cannot be reached \((UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)\)/ })
  const file = join(t.testdir(), 'ca.pem')
  writeFileSync(file, ca.cert)
  const trusting = loadConfigText(`upstreams: { tools: { url: "${url}", tls: { ca: "${file}" } } }`, { env: {} }).upstreams.get('tools') as UpstreamConfig
  t.match(await discoverResource(trusting, url, never), { resource: url, scope: 'over-tls' })
})

t.test('an upstream elsewhere names no issuer on this machine', async (t) => {
  const ca = await makeCa()
  const server = createServer(await makeCertificate(['localhost'], ca), (_request, response) => {
    response.end(JSON.stringify({ resource: url, authorization_servers: ['http://127.0.0.1:9200'] }))
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  t.teardown(async () => await new Promise((resolve) => { server.close(resolve); server.closeAllConnections() }))
  const url = `https://localhost:${(server.address() as AddressInfo).port}/mcp`
  const file = join(t.testdir(), 'ca.pem')
  writeFileSync(file, ca.cert)
  const upstream = loadConfigText(`upstreams: { tools: { url: "${url}", tls: { ca: "${file}" } } }`, { env: {} }).upstreams.get('tools') as UpstreamConfig
  await t.rejects(discoverResource(upstream, url, never), { message: /authorization server without TLS, http:\/\/127\.0\.0\.1:9200/ })
})

const OIDC = '/.well-known/openid-configuration'

t.test('an issuer is looked for at the places of RFC 8414 and of OpenID Connect', async (t) => {
  const places: ReadonlyArray<[path: string, at: string, asked: number]> = [
    ['', ISSUER_PATH, 1],
    ['', OIDC, 2],
    ['/tenant', `${ISSUER_PATH}/tenant`, 1],
    ['/tenant', `/tenant${OIDC}`, 2],
    ['/tenant', `${OIDC}/tenant`, 3],
  ]
  for (const [path, at, asked] of places) {
    const peer = await startLoginPeer(t, (origin) => ({ [ISSUER_PATH]: answer(404, {}), [at]: { ...serverMetadata(origin), issuer: origin + path } }))
    const known = await discoverIssuer(new URL(peer.origin + path), never)
    t.match(known, { server: { issuer: peer.origin + path }, tokenEndpoint: new URL(`${peer.origin}/token`) })
    t.equal(peer.seen.length, asked, at)
  }
})

t.test('metadata that is of no use at one place does not hide the other', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({ [ISSUER_PATH]: answer(200, '<html>'), [OIDC]: serverMetadata(origin) }))
  t.match(await discoverIssuer(new URL(peer.origin), never), { server: { issuer: peer.origin } })
  const neither = await startLoginPeer(t, () => ({ [ISSUER_PATH]: answer(404, {}), [OIDC]: { issuer: 'https://other.example' } }))
  await t.rejects(discoverIssuer(new URL(neither.origin), never), { message: /names another issuer/ }, 'and the one that says most is told')
  const none = await startLoginPeer(t, () => ({ [ISSUER_PATH]: answer(404, {}) }))
  await t.rejects(discoverIssuer(new URL(none.origin), never), { message: /has no metadata .* \(HTTP 404\)/ })
})

t.test('wherever the metadata was found, the issuer is kept, as a sidecar finds it there, too', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({
    [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [`${origin}/tenant`] },
    [`${OIDC}/tenant`]: { ...serverMetadata(origin), issuer: `${origin}/tenant` },
  }))
  const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
  await fetch(callbackOf(await person.visited(), { code: 'x', iss: `${peer.origin}/tenant` }))
  await result
  t.match(saved, [{ given: { issuer: `${peer.origin}/tenant`, token_endpoint: undefined } }])
})

t.test('an endpoint is as safe as its issuer', async (t) => {
  const at = (issuer: string, url: string) => endpoint(new URL(issuer), { issuer, token_endpoint: url }, 'token_endpoint').href
  t.equal(at('https://id.example', 'https://tokens.example/t'), 'https://tokens.example/t')
  t.equal(at('http://localhost:1', 'http://127.0.0.1:2/t'), 'http://127.0.0.1:2/t')
  t.equal(at('http://id.example', 'http://id.example/t'), 'http://id.example/t', 'a person has named this issuer')
  for (const [issuer, url] of [
    ['https://id.example', 'http://127.0.0.1/t'], ['https://id.example', 'http://id.example/t'], ['http://localhost', 'http://id.example/t'],
    ['http://id.example', 'http://other.example/t'], ['https://id.example', 'https://u:p@id.example/t'], ['https://id.example', 'https://id.example/t#x'],
  ] as const) t.throws(() => at(issuer, url), { message: /not safe to use/ }, `${issuer} → ${url}`)
})

t.test('what a person names the issuer as is used without asking the upstream', async (t: Test) => {
  const peer = await startLoginPeer(t)
  const { person } = startLogin(t, oneTool(peer.mcp), { flags: { issuer: peer.origin, scope: 'a' } })
  t.match(Object.fromEntries((await person.visited()).searchParams), { resource: peer.mcp, scope: 'a' })
  t.same(peer.at('/mcp'), [])
})

t.test('an issuer that the upstream does not name is used with a word about it', async (t) => {
  const issuer = await startLoginPeer(t)
  const peer = await startLoginPeer(t)
  const { person } = startLogin(t, oneTool(peer.mcp), { flags: { issuer: issuer.origin } })
  await person.visited()
  t.match(person.lines[0], `Note: the upstream tools names other authorization servers, and may refuse tokens of ${issuer.origin}.`)
  t.same(person.questions, [])
})

t.test('an upstream that says nothing is no obstacle where the issuer is known', async (t) => {
  const peer = await startLoginPeer(t, () => ({ [RESOURCE_PATH]: answer(500, {}) }))
  const { person } = startLogin(t, oneTool(peer.origin), { flags: { issuer: peer.origin } })
  t.equal((await person.visited()).searchParams.get('resource'), peer.origin, 'spelt without the slash')
  t.match(person.lines[0], /does not say which scopes it wants/)
})

t.test('of several issuers the first is offered, and the others are named', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({ [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [origin, 'https://second.example/x'] } }))
  const { person } = startLogin(t, oneTool(peer.mcp))
  await person.visited()
  t.same(person.lines.slice(0, 2), [`The upstream tools (${peer.mcp}) says that its tokens come from ${peer.origin}.`, 'It names https://second.example/x as well; --issuer chooses.'])
})

t.test('a token endpoint of the config must be the issuer\'s', async (t) => {
  const peer = await startLoginPeer(t)
  const { person } = startLogin(t, oneTool(peer.mcp, `{ client_id: agents, token_endpoint: "${peer.origin}/token" }`))
  await person.visited()
  await t.rejects(startLogin(t, oneTool(peer.mcp, `{ client_id: agents, token_endpoint: "${peer.origin}/other" }`)).result, { message: /another token_endpoint than the issuer/ })
})

t.test('login pages and tokens elsewhere are told, with how the client came about', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({
    [ISSUER_PATH]: { ...serverMetadata(origin), authorization_endpoint: 'https://pages.example/login?tenant=1&state=theirs', token_endpoint: 'https://tokens.example/t' },
  }))
  const { person } = startLogin(t, oneTool(peer.mcp), { flags: { clientId: 'mine' } })
  const address = await person.visited()
  t.equal(address.searchParams.get('tenant'), '1')
  t.match(address.searchParams.getAll('state'), [/^[\w-]{43}$/], 'ours, once')
  t.match(person.lines.join('\n'), /its login page is at https:\/\/pages\.example\n.*its tokens come from https:\/\/tokens\.example\nClient {4}mine \(from --client-id\)/)
})

t.test('a client-id metadata document needs an issuer that knows such', async (t) => {
  const peer = await startLoginPeer(t)
  await t.rejects(startLogin(t, oneTool(peer.mcp), { flags: { clientId: 'https://agents.example/c.json' } }).result, { message: /client_id_metadata_document_supported/ })
  const { person } = startLogin(t, oneTool(peer.mcp, '{ client_id: "https://agents.example/c.json" }'))
  await person.visited()
  t.match(person.lines.join('\n'), /c\.json \(from the config\)/, 'in the config it may simply be registered so')
})

t.test('an issuer where nobody can register says how to get a client', async (t) => {
  const peer = await startLoginPeer(t, (origin) => ({ [ISSUER_PATH]: { ...serverMetadata(origin), registration_endpoint: undefined } }))
  await t.rejects(startLogin(t, oneTool(peer.mcp)).result, { message: /redirect URI http:\/\/127\.0\.0\.1\/callback .*--redirect-port N.*--client-id/ })
})

t.test('a registered client may be given a secret, which is kept with the tokens', async (t) => {
  for (const [method, auth] of [['client_secret_post', 'client_secret_post'], [undefined, 'client_secret_basic'], ['none', 'none']] as const) {
    const peer = await startLoginPeer(t, () => ({
      '/register': answer(200, { client_id: 'made', client_secret: 'hush', client_secret_expires_at: 0, ...(method === undefined ? {} : { token_endpoint_auth_method: method }) }),
    }))
    const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
    await fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }))
    await result
    t.match(saved, [{ given: { client_id: 'made', client_auth: auth, client_secret: auth === 'none' ? undefined : 'hush' } }])
    const { headers, body } = peer.at('/token')[0] as LoginPeer['seen'][number]
    t.equal(headers.authorization !== undefined, auth === 'client_secret_basic')
    t.equal(new URLSearchParams(body.toString()).get('client_secret'), auth === 'client_secret_post' ? 'hush' : null)
  }
})

t.test('a client that the issuer registers for less asks for less, and the person is told (RFC 7591 §3.2.1)', async (t) => {
  const registering = (scope: unknown) => startLoginPeer(t, (origin) => ({
    [RESOURCE_PATH]: { resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: ['read', 'write'] },
    '/register': answer(201, { client_id: 'made', scope }),
  }))
  for (const [scope, asked] of [['read', 'read'], ['read write', 'read write'], [undefined, 'read write'], ['', 'read write'], [['read'], 'read write']] as const) {
    const peer = await registering(scope)
    const { person } = startLogin(t, oneTool(peer.mcp))
    t.equal((await person.visited()).searchParams.get('scope'), asked)
    t.equal(person.lines.includes('Note: the issuer registered the client without the scope write, so that is not asked for.'), asked === 'read')
  }
  const { person } = startLogin(t, oneTool((await registering('read')).mcp), { flags: { scope: 'write' } })
  t.equal((await person.visited()).searchParams.get('scope'), 'write', 'which a person named')
})

t.test('that a registered secret ends is kept with it and given back', async (t) => {
  for (const [auth, said, kept] of [
    ['client_secret_post', 1_900_000_000, 1_900_000_000], ['client_secret_post', 1_900_000_000.5, 1_900_000_000],
    ['client_secret_post', 0, undefined], ['client_secret_post', 1_900_000_000_000, undefined], ['none', 1_900_000_000, undefined],
  ] as const) {
    const peer = await startLoginPeer(t, () => ({ '/register': answer(201, { client_id: 'made', client_secret: 'hush', client_secret_expires_at: said, token_endpoint_auth_method: auth }) }))
    const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
    await fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }))
    t.hasStrict(await result, { secretExpiresAt: kept === undefined ? undefined : kept * 1000 })
    t.equal(saved[0]?.given.client_secret_expires_at, kept)
  }
})

t.test('an announced login that is refused is told (RFC 9126)', async (t) => {
  const announced = (reply: object) => startLoginPeer(t, (origin) => ({
    [ISSUER_PATH]: { ...serverMetadata(origin), require_pushed_authorization_requests: true, pushed_authorization_request_endpoint: `${origin}/par` }, '/par': reply,
  }))
  const refusing = await announced(answer(400, { error: 'invalid_scope', error_description: 'no' }))
  await t.rejects(startLogin(t, oneTool(refusing.mcp)).result, { message: /refused the login with invalid_scope: “no”$/ })
  const odd = await announced(answer(200, {}))
  await t.rejects(startLogin(t, oneTool(odd.mcp)).result, { message: /wants the login to be announced \(RFC 9126\), and answered that with HTTP 200/ })
})

t.test('the scope that the issuer names is kept as it names it, or else the one that was asked for', async (t) => {
  for (const [named, kept] of [['granted', 'granted'], [undefined, 'asked'], ['', 'asked'], [['read', 'write'], 'read write'], [[], 'asked'], [[5], 'asked'], ['not  a "scope"', 'asked']] as const) {
    const peer = await startLoginPeer(t, (_origin, { access, refresh }) => ({ '/token': { access_token: access, token_type: 'Bearer', refresh_token: refresh, scope: named } }))
    const { person, saved, result } = startLogin(t, oneTool(peer.mcp), { flags: { scope: 'asked' } })
    await fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }))
    t.match(await result, { scope: kept, expiresAt: undefined, refreshToken: true })
    t.match(saved, [{ given: { type: 'refresh_token', scope: kept, expires_in: undefined } }])
  }
})

t.test('an access token without a refresh token is kept for as long as it lives', async (t) => {
  const peer = await startLoginPeer(t, (_origin, { access }) => ({ '/token': { access_token: access, token_type: 'Bearer', expires_in: 600 } }))
  const { person, saved, result } = startLogin(t, oneTool(peer.mcp))
  await fetch(callbackOf(await person.visited(), { code: 'x', iss: peer.origin }))
  t.match(await result, { refreshToken: false, expiresAt: Number })
  t.match(saved, [{ given: { type: 'refresh_token', access_token: peer.tokens.access, expires_in: Number, refresh_token: undefined } }])
})

t.test('a plain-http issuer that a person named is warned of', async (t) => {
  const { person, result } = startLogin(t, oneTool('http://mcp.example/mcp', '{ issuer: "http://issuer.invalid", scope: a }'))
  await t.rejects(result, { message: /^the issuer http:\/\/issuer\.invalid cannot be reached/ })
  t.match(person.lines, [/^warning: http:\/\/issuer\.invalid is reached by plain http/])
})
