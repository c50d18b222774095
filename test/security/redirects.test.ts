import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { call, errorCode } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

/** A place that no config names. It counts the connections that come all the same. */
async function startDecoy (t: Test) {
  let connections = 0
  const server = createServer((socket) => { connections++; socket.destroy() })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => { await new Promise((resolve) => server.close(resolve)) })
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, connections: () => connections }
}

async function startWithUpstream (t: Test, answer: Parameters<typeof startUpstream>[1], base = '/mcp') {
  const token = mintToken()
  const upstream = await startUpstream(t, answer)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}${base}" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: token } })
  return { token, upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice') }
}

for (const status of [301, 302, 303, 307, 308]) {
  t.test(`row 37: a ${status} to another host is followed by nobody, and the agent is not sent there`, async (t) => {
    const decoy = await startDecoy(t)
    const { url, key, upstream } = await startWithUpstream(t, (_seen, response) => {
      response.writeHead(status, { location: `${decoy.origin}/mcp` }).end()
    })
    const answer = await call(url, { key })
    t.equal(answer.status, status)
    t.equal(answer.headers.location, undefined, 'or its session key would go along')
    t.equal(upstream.seen.length, 1)
    t.equal(decoy.connections(), 0)
  })
}

t.test('row 37: a redirect within the upstream is followed by nobody, and stays behind the sidecar', async (t) => {
  const { url, key, upstream } = await startWithUpstream(t, (_seen, response) => {
    response.writeHead(307, { location: '/mcp/other?a=1#b' }).end()
  })
  const answer = await call(url, { key })
  t.equal(answer.headers.location, '/tools/mcp/other?a=1#b')
  t.equal(upstream.seen.length, 1)
})

for (const location of ['/elsewhere', '//other.example/mcp', '/mcp/../admin', '/mcpx', 'https://127.0.0.1/mcp', 'http://[', 'javascript:alert(1)', '\\\\other.example\\mcp']) {
  t.test(`row 37: a Location of ${location} is left out`, async (t) => {
    const { url, key } = await startWithUpstream(t, (_seen, response) => { response.writeHead(302, { location, 'content-location': location }).end() })
    const answer = await call(url, { key })
    t.equal(answer.status, 302)
    t.equal(answer.headers.location, undefined)
    t.equal(answer.headers['content-location'], undefined)
  })
}

t.test('row 37: every path of an upstream at the root is its own', async (t) => {
  const { url, key } = await startWithUpstream(t, (_seen, response) => { response.writeHead(302, { location: '/other' }).end() }, '/')
  t.equal((await call(url, { key })).headers.location, '/tools/mcp/other')
})

t.test('row 37: a redirect whose address holds the token is shown without it', async (t) => {
  let token = ''
  const started = await startWithUpstream(t, (_seen, response) => { response.writeHead(302, { location: `/mcp/other?token=${token}` }).end() })
  token = started.token
  t.equal((await call(started.url, { key: started.key })).headers.location, '/tools/mcp/other?token=[redacted]')
})

for (const [grant, fields] of [
  ['refresh_token', 'client_id: agents, refresh_token: { env: GRANT }, client_secret: { env: SECRET }'],
  ['client_credentials', 'client_id: agents, client_secret: { env: SECRET }'],
  ['json_refresh', 'refresh_token: { env: GRANT }, body: { token: "{refresh_token}" }'],
] as const) {
  for (const status of [301, 302, 303, 307, 308]) {
    t.test(`row 37: a ${status} of a token endpoint carries the ${grant} grant nowhere`, async (t) => {
      const decoy = await startDecoy(t)
      const endpoint = await startUpstream(t, (_seen, response) => {
        response.writeHead(status, { location: `${decoy.origin}/token` }).end()
      })
      const upstream = await startUpstream(t)
      const where = grant === 'json_refresh' ? 'url' : 'token_endpoint'
      const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }
principals: { alice: { credentials: { tools: { type: ${grant}, ${where}: "${endpoint.origin}/token", ${fields} } } } }
`, { env: { GRANT: mintToken('rt'), SECRET: mintToken('cs') } })
      const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
      t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
      await sidecar.until((event) => event.event === 'refresh')
      t.ok(endpoint.seen.length > 0)
      t.equal(decoy.connections(), 0)
      t.same(upstream.seen, [])
    })
  }
}

for (const [what, headersTo] of [
  ['WWW-Authenticate: resource_metadata', (decoy: string) => ({ 'www-authenticate': `Bearer error="invalid_token", resource_metadata="${decoy}/.well-known/oauth-protected-resource"` })],
  ['WWW-Authenticate: authorization_uri', (decoy: string) => ({ 'www-authenticate': `Bearer authorization_uri="${decoy}/authorize", realm="${decoy}"` })],
  ['Link', (decoy: string) => ({ link: `<${decoy}/token>; rel="token_endpoint"` })],
  ['Location', (decoy: string) => ({ location: `${decoy}/token` })],
  ['Alt-Svc', (decoy: string) => ({ 'alt-svc': `h2="${new URL(decoy).host}"; ma=3600` })],
  ['Refresh', (decoy: string) => ({ refresh: `0; url=${decoy}` })],
] as const) {
  t.test(`row 40: an address that a 401 names in ${what} is not contacted`, async (t) => {
    const decoy = await startDecoy(t)
    const { url, key, sidecar } = await startWithUpstream(t, (_seen, response) => { response.writeHead(401, headersTo(decoy.origin)).end() })
    const answer = await call(url, { key })
    t.equal(errorCode(answer), 'ERR_UPSTREAM_UNAUTHORIZED')
    t.notMatch(JSON.stringify(answer.headers), decoy.origin, 'nor is the agent sent there')
    t.equal((await call(url, { key })).status, 502, 'not at the second call either')
    await sidecar.close()
    t.equal(decoy.connections(), 0)
  })
}

t.test('row 40: an address that a 200 names is not contacted', async (t) => {
  const decoy = await startDecoy(t)
  const { url, key } = await startWithUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'alt-svc': `h2="${new URL(decoy.origin).host}"`, refresh: `0; url=${decoy.origin}`, link: `<${decoy.origin}>; rel=preconnect`, 'content-type': 'application/json' })
    response.end(JSON.stringify({ authorization_servers: [decoy.origin], token_endpoint: `${decoy.origin}/token` }))
  })
  t.equal((await call(url, { key })).status, 200)
  const { headers } = await call(url, { key })
  t.same([headers['alt-svc'], headers.refresh], [undefined, undefined])
  t.equal(decoy.connections(), 0)
})

t.test('row 40: an address that a token endpoint\'s answer names is not contacted', async (t) => {
  const decoy = await startDecoy(t)
  const upstream = await startUpstream(t)
  const endpoint = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json', link: `<${decoy.origin}>; rel="token_endpoint"` })
    response.end(JSON.stringify({
      access_token: mintToken(), token_type: 'Bearer', expires_in: 3600, token_endpoint: `${decoy.origin}/token`, issuer: decoy.origin, resource: decoy.origin, jwks_uri: decoy.origin,
    }))
  })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: client_credentials, token_endpoint: "${endpoint.origin}/token", client_id: agents, client_secret: { env: SECRET } } } } }
`, { env: { SECRET: mintToken('cs') } })
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
  t.equal(upstream.seen.length, 1)
  t.equal(decoy.connections(), 0)
})

t.test('row 40: metadata that names another issuer than the config does leads nowhere', async (t) => {
  const decoy = await startDecoy(t)
  const upstream = await startUpstream(t)
  const issuer = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ issuer: decoy.origin, token_endpoint: `${decoy.origin}/token` }))
  })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }
principals: { alice: { credentials: { tools: { type: client_credentials, issuer: "${issuer.origin}", client_id: agents, client_secret: { env: SECRET } } } } }
`, { env: { SECRET: mintToken('cs') } })
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })), 'ERR_CREDENTIAL_UNAVAILABLE')
  t.equal(decoy.connections(), 0)
})
