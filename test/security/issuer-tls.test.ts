import { writeFileSync } from 'node:fs'
import { createServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { serveProcess, type Line } from '../helpers/serving.js'
import { makeCa, makeCertificate } from '../helpers/tls.js'
import { mint } from '../helpers/tokens.js'

/** An issuer behind TLS, that sends clients to a token endpoint without; the paths that it was asked for. */
async function startTlsIssuer (t: Test, tls: ServerOptions): Promise<{ origin: string, asked: string[] }> {
  const asked: string[] = []
  const server = createServer(tls, ({ url }, response) => {
    asked.push(url as string)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ issuer: origin, token_endpoint: `${origin.replace('https:', 'http:')}/token` }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const origin = `https://localhost:${(server.address() as AddressInfo).port}`
  return { origin, asked }
}

/** The first refresh of a sidecar, as a process of its own, that asks this issuer. */
async function firstRefresh (t: Test, dir: string, origin: string, env: NodeJS.ProcessEnv): Promise<Line> {
  const config = join(dir, 'valet.yaml')
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams: { tools: { url: http://127.0.0.1:9/mcp } }
principals:
  alice: { credentials: { tools: { type: client_credentials, issuer: "${origin}", client_id: c, client_secret: { env: SECRET } } } }
`)
  const { until } = await serveProcess(t, config, { SECRET: mint(), ...env })
  return await until(({ event }) => event === 'refresh')
}

t.test('row 40: metadata fetched over https that names a token endpoint over http is refused', async (t) => {
  const ca = await makeCa()
  const { origin, asked } = await startTlsIssuer(t, await makeCertificate(['localhost'], ca))
  const dir = t.testdir({ 'ca.pem': ca.cert })
  const refresh = await firstRefresh(t, dir, origin, { NODE_EXTRA_CA_CERTS: join(dir, 'ca.pem') })
  t.match(refresh.reason, /could not be discovered: its metadata names a token_endpoint without TLS$/)
  t.ok(asked.length > 0 && asked.every((path) => path.startsWith('/.well-known/')), String(asked))
})

t.test('no variable of the environment lets anybody be taken for an issuer', async (t) => {
  const { origin, asked } = await startTlsIssuer(t, await makeCertificate(['localhost']))
  const refresh = await firstRefresh(t, t.testdir({}), origin, { NODE_TLS_REJECT_UNAUTHORIZED: '0' })
  t.match(refresh.reason, /cannot be reached \(DEPTH_ZERO_SELF_SIGNED_CERT\)/)
  t.same(asked, [])
})
