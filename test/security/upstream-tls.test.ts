import t, { type Test } from 'tap'
import { call, errorCode } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { makeCa, makeCertificate, startTlsUpstream } from '../helpers/tls.js'

/** One call by way of a sidecar whose upstream is at this port, by the name localhost. */
async function callThrough (t: Test, port: number, tls: string, env: Record<string, string>) {
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "https://localhost:${port}/mcp", tls: { ${tls} } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken(), ...env } })
  const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
  return { answer, sidecar }
}

const ca = await makeCa()
const trusted = await makeCertificate(['localhost'], ca)

t.test('row 36: a self-signed upstream is refused, and gets no header', async (t) => {
  const upstream = await startTlsUpstream(t, await makeCertificate(['localhost']))
  const { answer, sidecar } = await callThrough(t, upstream.port, '', {})
  t.equal(answer.status, 502)
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
  t.match(await sidecar.until((event) => event.event === 'failed'), { reason: /^DEPTH_ZERO_SELF_SIGNED_CERT: .*tls\.ca of this upstream$/ }, 'the log says why, and what to do')
})

t.test('row 36: an upstream of an authority that nobody named is refused', async (t) => {
  const upstream = await startTlsUpstream(t, trusted)
  const { answer } = await callThrough(t, upstream.port, '', {})
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
})

t.test('row 36: a given CA is accepted', async (t) => {
  const upstream = await startTlsUpstream(t, trusted)
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }', { CA: ca.cert })
  t.equal(answer.status, 200)
  t.equal(upstream.seen.length, 1)
})

t.test('row 36: another CA than the upstream\'s is no help', async (t) => {
  const upstream = await startTlsUpstream(t, trusted)
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }', { CA: (await makeCa()).cert })
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
})

t.test('row 36: a certificate for another name is refused', async (t) => {
  const upstream = await startTlsUpstream(t, await makeCertificate(['other.example'], ca))
  const { answer, sidecar } = await callThrough(t, upstream.port, 'ca: { env: CA }', { CA: ca.cert })
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
  t.match(await sidecar.until((event) => event.event === 'failed'), { reason: /^ERR_TLS_CERT_ALTNAME_INVALID: .*tls\.server_name$/ })
})

t.test('row 36: server_name is the name that is expected', async (t) => {
  const upstream = await startTlsUpstream(t, await makeCertificate(['other.example'], ca))
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }, server_name: other.example', { CA: ca.cert })
  t.equal(answer.status, 200)
})

t.test('row 36: a wrong server_name is refused', async (t) => {
  const upstream = await startTlsUpstream(t, trusted)
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }, server_name: other.example', { CA: ca.cert })
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
})

t.test('row 36: a client certificate is shown', async (t) => {
  const upstream = await startTlsUpstream(t, trusted, ca.cert)
  const client = await makeCertificate(['valet.example'], ca)
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }, cert: { env: CERT }, key: { env: KEY }', { CA: ca.cert, CERT: client.cert, KEY: client.key })
  t.equal(answer.status, 200)
  t.equal(upstream.seen[0]?.client, 'valet.example')
})

t.test('row 36: an upstream that wants a client certificate and gets none is out of reach', async (t) => {
  const upstream = await startTlsUpstream(t, trusted, ca.cert)
  const { answer } = await callThrough(t, upstream.port, 'ca: { env: CA }', { CA: ca.cert })
  t.equal(errorCode(answer), 'ERR_UPSTREAM_UNREACHABLE')
  t.same(upstream.seen, [])
})

t.test('row 36: certificates that cannot be used are told at the start, and where they are mended the next call uses them', async (t) => {
  const upstream = await startTlsUpstream(t, trusted, ca.cert)
  const [client, other] = [await makeCertificate(['valet.example'], ca), await makeCertificate(['valet.example'], ca)]
  const env: Record<string, string> = { CA: ca.cert, CERT: client.cert, KEY: other.key, TOKEN: mintToken() }
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "https://localhost:${upstream.port}/mcp", tls: { ca: { env: CA }, cert: { env: CERT }, key: { env: KEY } } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env })
  const key = await sidecar.keyFor('alice')
  t.match(await sidecar.until(({ event }) => event === 'warning'), { reason: 'upstream tools cannot be called: env KEY is not the key of the certificate in env CERT' })
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/tools/mcp`, { key })), 'ERR_UPSTREAM_UNREACHABLE')
  t.match(await sidecar.until(({ event }) => event === 'failed'), { reason: 'env KEY is not the key of the certificate in env CERT' })
  env.KEY = client.key
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
})
