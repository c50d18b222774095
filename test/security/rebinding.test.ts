import t from 'tap'
import { mintToken } from '../helpers/mint.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const upstream = await startUpstream(t)
const sidecar = await startSidecar(t, `
callers: { hosts: [valet.internal, "[fd00::1]", "other.internal:9000"], origins: ["https://app.example", "http://localhost:3000", "vscode-webview://id"] }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() } })
const key = await sidecar.keyFor('alice')

async function send (lines: string[], version = 'HTTP/1.1') {
  const before = upstream.seen.length
  const answer = await sendRaw(sidecar.proxyUrl, requestText(`GET /tools/mcp ${version}`, [...lines, `X-Session-Key: ${key}`]))
  const code = (JSON.parse(answer.body.match(/\{.*\}/s)?.[0] ?? '{}') as { error?: { data?: { code?: string } } }).error?.data?.code
  return { status: answer.status, code, forwarded: upstream.seen.length - before }
}

for (const host of [
  'localhost', 'LOCALHOST', 'LocalHost:8401', 'localhost:1', '127.0.0.1', '127.0.0.1:8401', '127.0.0.2', '127.255.255.254:80',
  '[::1]', '[::1]:8401', 'valet.internal', 'Valet.Internal:8401', '[fd00::1]:8401', '[FD00::1]', 'other.internal', 'other.internal:1',
]) {
  t.test(`row 39: Host ${host} is served`, async (t) => {
    t.same(await send([`Host: ${host}`]), { status: 200, code: undefined, forwarded: 1 })
  })
}

for (const host of [
  'evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil.example:8401', 'localhost.', 'LOCALHOST.:8401', '127.0.0.1.',
  '0.0.0.0', '[::]', '[::]:8401', '2130706433', '0x7f000001', '0177.0.0.1', '127.1', '127.0.0.1.nip.io', '127.0.0.256', '127.0.0.1:99999999',
  '[::ffff:127.0.0.1]', '[::1%25lo]', '[::1', '::1', '[127.0.0.1]', '[localhost]', 'localhost:', 'localhost:80:80', 'localhost:a', 'user@localhost', 'localhost/', 'localhost, evil.example', 'local host',
  'xn--lclhst-0jb', 'localhost\u00a0', 'valet.internal.evil.example', 'avalet.internal', '127.0.0.1#.evil.example', '-',
]) {
  t.test(`row 39: Host ${host} is refused`, async (t) => {
    t.same(await send([`Host: ${host}`]), { status: 403, code: 'ERR_HOST_REFUSED', forwarded: 0 })
  })
}

t.test('row 39: an empty Host is refused', async (t) => {
  t.same(await send(['Host:']), { status: 403, code: 'ERR_HOST_REFUSED', forwarded: 0 })
})

t.test('row 39: HTTP/1.1 without Host is refused', async (t) => {
  const { status, forwarded } = await send([])
  t.same([status, forwarded], [400, 0])
})

t.test('row 39: HTTP/1.0 without Host is refused', async (t) => {
  t.same(await send([], 'HTTP/1.0'), { status: 403, code: 'ERR_HOST_REFUSED', forwarded: 0 })
})

t.test('row 39: X-Forwarded-Host and Forwarded are no Host', async (t) => {
  const { status } = await send(['Host: evil.example', 'X-Forwarded-Host: localhost', 'Forwarded: host=localhost'])
  t.equal(status, 403)
})

for (const origin of ['https://app.example', 'HTTPS://APP.EXAMPLE', 'http://localhost:3000', 'vscode-webview://id']) {
  t.test(`row 39: Origin ${origin} is listed and served`, async (t) => {
    t.same(await send(['Host: localhost', `Origin: ${origin}`]), { status: 200, code: undefined, forwarded: 1 })
  })
}

for (const origin of [
  'https://evil.example', 'https://app.example.evil.example', 'https://app.example:8443', 'http://app.example', 'https://sub.app.example', 'https://app.example/',
  'null', '', 'http://localhost', 'http://127.0.0.1:3000', 'http://localhost:3000/', 'https://app.example, https://app.example', 'https://app.example https://evil.example', 'file://', 'https://user@app.example', '*',
]) {
  t.test(`row 39: Origin ${JSON.stringify(origin)} is refused`, async (t) => {
    t.same(await send(['Host: localhost', `Origin: ${origin}`]), { status: 403, code: 'ERR_ORIGIN_REFUSED', forwarded: 0 })
  })
}

t.test('row 39: two Origins are refused, even if each is listed', async (t) => {
  const { status, forwarded } = await send(['Host: localhost', 'Origin: https://app.example', 'Origin: http://localhost:3000'])
  t.same([status, forwarded], [400, 0])
})

t.test('row 39: no Origin is fine: it is no browser', async (t) => {
  t.equal((await send(['Host: localhost'])).status, 200)
})

t.test('row 39: without a list every Origin is refused, that of the listener itself among them', async (t) => {
  const plain = await startSidecar(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }`)
  for (const origin of [plain.proxyUrl, 'http://localhost', 'https://app.example']) {
    t.equal((await sendRaw(plain.proxyUrl, requestText('GET /tools/mcp HTTP/1.1', ['Host: localhost', `Origin: ${origin}`]))).status, 403, origin)
  }
})

t.test('row 39: a refused Host is refused before the key is looked at', async (t) => {
  const answer = await sendRaw(sidecar.proxyUrl, requestText('GET /tools/mcp HTTP/1.1', ['Host: evil.example', 'X-Session-Key: vk_none']))
  t.equal(answer.status, 403)
})

t.test('row 39: a refused call is told to the log and counted', async (t) => {
  const { status } = await send(['Host: evil.example'])
  t.equal(status, 403)
  t.ok(sidecar.events.some((event) => event.event === 'denied' && event.code === 'ERR_HOST_REFUSED'))
  t.match(await sidecar.metrics(), /mcp_valet_denied_total\{reason="ERR_HOST_REFUSED"\} \d/)
})

t.end()
