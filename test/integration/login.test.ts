import { decodeJwt, exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import { errors } from 'oidc-provider'
import t, { type Test } from 'tap'
import type { GivenCredential } from '../../src/control.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import { Browser } from '../helpers/browser.js'
import { Canaries } from '../helpers/canary.js'
import { oneTool, startLogin } from '../helpers/login.js'
import { startLoginServer, TOOLS_SCOPE, type LoginServer, type LoginServerOptions } from '../helpers/login-server.js'
import { startSidecar } from '../helpers/sidecar.js'

interface Stage { readonly server: LoginServer, readonly upstream: string }

/** A real authorization server, and a real MCP server that takes its tokens and says so (RFC 9728). */
async function startStage (t: Test, options: Partial<LoginServerOptions> = {}): Promise<Stage> {
  let upstream = ''
  const server = await startLoginServer(t, { resource: () => upstream, ...options })
  const mcp = await createDemoMcpServer({ issuer: server.issuer, jwks: server.jwksUri })
  t.teardown(async () => await mcp.close())
  upstream = mcp.url
  return { server, upstream }
}

/** The forms that a path of the authorization server was sent. */
function forms ({ requests }: LoginServer, path: string): URLSearchParams[] {
  return requests.filter((request) => request.path === path && request.method === 'POST').map(({ body }) => new URLSearchParams(body))
}

t.test('a person logs in where the upstream says, as a client that is registered for it', async (t) => {
  const { server, upstream } = await startStage(t)
  const { person, saved, result } = startLogin(t, oneTool(upstream))
  const address = await person.visited()
  t.same(person.questions, [`Log alice in at ${new URL(server.issuer).host}?`])
  t.match(Object.fromEntries(address.searchParams), {
    response_type: 'code',
    code_challenge_method: 'S256',
    code_challenge: /^[\w-]{43}$/,
    state: /^[\w-]{43}$/,
    resource: upstream,
    scope: 'offline_access',
    prompt: 'consent',
    redirect_uri: /^http:\/\/127\.0\.0\.1:\d+\/callback$/,
  })
  const page = await new Browser().visit(address)
  const loggedIn = await result
  t.match(page, { status: 200, html: '<h1>Logged in</h1>' })
  t.match(loggedIn, { issuer: server.issuer, clientFrom: 'registration', resource: upstream, refreshToken: true })
  const { principal, upstream: name, given } = saved[0] as typeof saved[number]
  t.match({ principal, name, given }, {
    principal: 'alice', name: 'tools', given: { type: 'refresh_token', issuer: server.issuer, client_id: loggedIn.clientId, client_auth: 'none', resource: upstream },
  })
  t.match(decodeJwt(given.access_token as string), { sub: 'alice', aud: upstream })
  t.equal(forms(server, '/token')[0]?.get('resource'), upstream)
  t.match(JSON.parse(server.requests.find(({ path }) => path === '/reg')?.body as string), {
    client_name: 'mcp-valet', application_type: 'native', token_endpoint_auth_method: 'none', redirect_uris: [address.searchParams.get('redirect_uri')],
  })

  const canaries = new Canaries()
  canaries.add('access token', given.access_token as string)
  canaries.add('refresh token', given.refresh_token as string)
  t.same(canaries.findIn([page.html, page.url.href, ...[...page.headers].flat(), ...person.lines, JSON.stringify(loggedIn)].join('\n')), [], 'no token is shown')
})

t.test('what the config names is used without asking, and its secret is not kept twice', async (t) => {
  const { server, upstream } = await startStage(t)
  const credential = `{ type: refresh_token, issuer: "${server.issuer}", client_id: agents, client_secret: { env: SECRET }, scope: "${TOOLS_SCOPE}" }`
  const { person, saved, result } = startLogin(t, oneTool(upstream, credential), { env: { SECRET: server.client.secret } })
  await new Browser().visit(await person.visited())
  t.match(await result, { clientFrom: 'config', clientId: 'agents', scope: TOOLS_SCOPE, refreshToken: true })
  t.same(person.questions, [])
  t.equal(saved[0]?.given.client_auth, 'client_secret_basic')
  t.notOk(saved[0]?.given.client_secret, 'the defaults of the upstream have it')
  t.match(decodeJwt(saved[0]?.given.access_token as string), { scope: TOOLS_SCOPE })
})

t.test('a secret that only the principal\'s own credential has is kept with the tokens', async (t) => {
  const { server, upstream } = await startStage(t)
  const { person, saved, result } = startLogin(t, `
upstreams: { tools: { url: "${upstream}" } }
principals:
  alice: { credentials: { tools: { type: refresh_token, issuer: "${server.issuer}", client_id: agents, client_secret: { env: SECRET }, client_auth: client_secret_basic, refresh_token: { env: NOT_YET }, scope: tools:read } } }
`, { env: { SECRET: server.client.secret } })
  await new Browser().visit(await person.visited())
  await result
  t.match(saved, [{ given: { client_id: 'agents', client_secret: server.client.secret, client_auth: 'client_secret_basic', scope: 'tools:read' } }])
})

t.test('a login is announced where the issuer wants that (RFC 9126)', async (t) => {
  const { server, upstream } = await startStage(t, { configuration: { features: { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } } } })
  const { person, result } = startLogin(t, oneTool(upstream, '{ client_id: agents, client_secret: { env: SECRET }, issuer: "' + server.issuer + '" }'), {
    env: { SECRET: server.client.secret }, flags: { scope: 'tools:read' },
  })
  const address = await person.visited()
  t.same([...address.searchParams.keys()], ['client_id', 'request_uri'])
  t.match(Object.fromEntries(forms(server, '/request')[0] ?? []), { code_challenge_method: 'S256', resource: upstream, scope: 'tools:read offline_access' })
  await new Browser().visit(address)
  t.match(await result, { scope: 'tools:read', refreshToken: true })
})

t.test('a client proves itself by a key, to the issuer by its name', async (t) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const keyed = {
    client_id: 'keyed',
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [{ ...await exportJWK(publicKey), alg: 'ES256' }] },
  }
  const { server, upstream } = await startStage(t, { configuration: { clients: [keyed] } })
  const env = { KEY: await exportPKCS8(privateKey) }
  const { person, saved, result } = startLogin(t, oneTool(upstream, `{ type: refresh_token, issuer: "${server.issuer}", client_id: keyed, client_key: { env: KEY }, scope: tools:read }`), { env })
  await new Browser().visit(await person.visited())
  t.match(await result, { clientId: 'keyed', refreshToken: true })
  t.equal(decodeJwt(forms(server, '/token')[0]?.get('client_assertion') as string).aud, server.issuer)
  t.match(saved, [{ given: { client_id: 'keyed', client_auth: 'private_key_jwt', client_secret: undefined } }])
})

t.test('a client-id metadata document is a client where the issuer knows such', async (t) => {
  const id = 'https://agents.example/mcp-valet.json'
  const document = { client_id: id, client_name: 'agents', redirect_uris: ['http://127.0.0.1/callback'], application_type: 'native', token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] }
  const { upstream } = await startStage(t, {
    configuration: {
      features: { clientIdMetadataDocument: { enabled: true } },
      fetch: async () => Response.json(document),
    },
  })
  const { person, saved, result } = startLogin(t, oneTool(upstream), { flags: { clientId: id } })
  await new Browser().visit(await person.visited())
  t.match(await result, { clientFrom: 'metadata_document', clientId: id })
  t.match(saved, [{ given: { client_id: id, client_auth: 'none' } }])
})

t.test('where there is no refresh token the access token is kept', async (t) => {
  const { upstream } = await startStage(t, { configuration: { issueRefreshToken: () => false } })
  const { person, saved, result } = startLogin(t, oneTool(upstream))
  await new Browser().visit(await person.visited())
  t.match(await result, { refreshToken: false })
  t.match(saved, [{ given: { access_token: String, refresh_token: undefined } }])
})

t.test('a person who cancels at the issuer is not logged in', async (t) => {
  const { server, upstream } = await startStage(t)
  const { person, saved, result } = startLogin(t, oneTool(upstream))
  const browser = new Browser()
  const form = await browser.visit(await person.visited(), (url) => url.pathname.startsWith('/interaction/'))
  const page = await browser.visit(`${form.url.href}/abort`)
  t.match(page, { status: 200, html: '<h1>Not logged in</h1>' })
  t.match(page.html, 'End-User aborted interaction')
  await t.rejects(result, { name: 'LoginError', message: `the issuer ${server.issuer} refused the login with access_denied: “End-User aborted interaction”` })
  t.same(saved, [])
})

t.test('a person who does not agree to the issuer sends nothing there', async (t) => {
  const { server, upstream } = await startStage(t)
  const { saved, result } = startLogin(t, oneTool(upstream), { agrees: false })
  await t.rejects(result, { message: /^cancelled/ })
  t.same(server.requests, [])
  t.same(saved, [])
})

t.test('a login for a resource that the issuer does not know is told as such', async (t) => {
  const { server, upstream } = await startStage(t)
  const { person, result } = startLogin(t, oneTool(upstream, `{ issuer: "${server.issuer}", resource: "https://other.example/mcp" }`), { flags: { scope: 'tools:read' } })
  await new Browser().visit(await person.visited())
  await t.rejects(result, { message: /refused the login with invalid_target: .*: in the upstream's credential in the config, set resource to what the issuer knows, or to none$/ })
})

t.test('resource: none names no resource to the issuer, neither in the login nor in the renewals that follow', async (t) => {
  const knowsNone = { enabled: true, defaultResource: () => undefined, getResourceServerInfo: () => { throw new errors.InvalidTarget() } }
  const server = await startLoginServer(t, { resource: () => '', configuration: { features: { resourceIndicators: knowsNone } } })
  const { person, saved, result } = startLogin(t, oneTool('http://127.0.0.1:1/mcp', `{ issuer: "${server.issuer}", resource: none }`), { flags: { scope: 'openid' } })
  const address = await person.visited()
  t.notOk(address.searchParams.has('resource'))
  t.ok(person.lines.includes('Resource  (none is named)'))
  await new Browser().visit(address)
  t.equal((await result).resource, undefined)
  const given = saved[0]?.given as GivenCredential
  t.equal(given.resource, 'none', 'left out, it would be the upstream\'s URL again')

  const sidecar = await startSidecar(t, oneTool('http://127.0.0.1:1/mcp'))
  await sidecar.principals.putCredential('alice', 'tools', given)
  t.match(await sidecar.credentials.refresh('alice', 'tools'), { state: 'valid', error: undefined })
  t.same(forms(server, '/token').map((form) => [form.get('grant_type'), form.has('resource')]), [['authorization_code', false], ['refresh_token', false]])
})

t.test('a credential that cannot be kept is told at the terminal and in the browser', async (t) => {
  const { upstream } = await startStage(t)
  let token = ''
  const { person, result } = startLogin(t, oneTool(upstream), {
    save: async (_principal, _upstream, given: GivenCredential) => {
      token = given.refresh_token as string
      throw new Error(token)
    },
  })
  const page = await new Browser().visit(await person.visited())
  await t.rejects(result, { message: token })
  t.match(page.html, 'The terminal says why.')
  t.notMatch(page.html, token)
})
