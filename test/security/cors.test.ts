import t, { type Test } from 'tap'
import { call } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { requestText, sendRaw, type RawAnswer } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream, type Answer } from '../helpers/upstream.js'

const ORIGIN = 'https://app.example'

async function start (t: Test, answer?: Answer, header = 'X-Session-Key') {
  const upstream = await startUpstream(t, answer)
  const sidecar = await startSidecar(t, `
callers: { origins: ["${ORIGIN}"], header: ${header} }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() } })
  return { upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key: await sidecar.keyFor('alice') }
}

async function preflight (url: string, lines: string[] = [], path = '/tools/mcp'): Promise<RawAnswer> {
  return await sendRaw(url, requestText(`OPTIONS ${path} HTTP/1.1`, ['Host: localhost', `Origin: ${ORIGIN}`, 'Access-Control-Request-Method: POST', ...lines]))
}

const names = (answer: RawAnswer, header: string): string[] => (answer.headers.get(header)?.[0] ?? '').split(', ').filter((name) => name !== '')

t.test('row 39: a preflight of a listed Origin is answered, and goes nowhere', async (t) => {
  const { url, upstream } = await start(t)
  const answer = await preflight(url)
  t.equal(answer.status, 204)
  t.equal(answer.body, '')
  t.same(answer.headers.get('access-control-allow-origin'), [ORIGIN])
  t.same(answer.headers.get('vary'), ['Origin'])
  t.same(names(answer, 'access-control-allow-methods'), ['POST', 'GET', 'DELETE'])
  t.equal(answer.headers.get('access-control-allow-credentials'), undefined, 'cookies mean nothing here')
  t.same(upstream.seen, [])
})

t.test('row 39: a preflight allows the headers that MCP clients send, and no others', async (t) => {
  const { url } = await start(t, undefined, 'X-My-Key')
  const asked = 'x-my-key, Content-Type, authorization,accept, last-event-id, Mcp-Session-Id,mcp-protocol-version, mcp-param-region, cookie, x-evil, x-session-key'
  const answer = await preflight(url, [`Access-Control-Request-Headers: ${asked}`])
  t.same(names(answer, 'access-control-allow-headers'), ['x-my-key', 'content-type', 'authorization', 'accept', 'last-event-id', 'mcp-session-id', 'mcp-protocol-version', 'mcp-param-region'])
})

t.test('row 39: a preflight needs no key, as browsers send none', async (t) => {
  const { url } = await start(t)
  t.equal((await preflight(url, ['Access-Control-Request-Headers: x-session-key'])).status, 204)
})

t.test('row 39: a page of the internet may call this machine when it asks whether it may', async (t) => {
  const { url } = await start(t)
  t.same((await preflight(url, ['Access-Control-Request-Private-Network: true'])).headers.get('access-control-allow-private-network'), ['true'])
  t.equal((await preflight(url)).headers.get('access-control-allow-private-network'), undefined)
})

for (const origin of ['https://evil.example', 'null', 'https://app.example.evil.example']) {
  t.test(`row 39: a preflight of ${origin} is refused, without a word for the browser`, async (t) => {
    const { url } = await start(t)
    const answer = await sendRaw(url, requestText('OPTIONS /tools/mcp HTTP/1.1', ['Host: localhost', `Origin: ${origin}`, 'Access-Control-Request-Method: POST']))
    t.equal(answer.status, 403)
    t.same([...answer.headers.keys()].filter((name) => name.startsWith('access-control')), [])
  })
}

t.test('row 39: a preflight to a foreign Host is refused', async (t) => {
  const { url } = await start(t)
  const answer = await sendRaw(url, requestText('OPTIONS /tools/mcp HTTP/1.1', ['Host: evil.example', `Origin: ${ORIGIN}`, 'Access-Control-Request-Method: POST']))
  t.equal(answer.status, 403)
  t.notOk(answer.headers.has('access-control-allow-origin'))
})

t.test('row 39: OPTIONS that is no preflight is served nowhere', async (t) => {
  const { url } = await start(t)
  t.equal((await call(url, { method: 'OPTIONS' })).status, 404)
  t.equal((await call(url, { method: 'OPTIONS', headers: { origin: ORIGIN } })).status, 404)
})

t.test('row 39: an answer that is written straight to the connection lets the page read it', async (t) => {
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's1', 'x-two': ['a', 'b'] }).end('{}')
  })
  const answer = await call(url, { key, headers: { origin: ORIGIN } })
  t.equal(answer.status, 200)
  t.equal(answer.headers['access-control-allow-origin'], ORIGIN)
  t.equal(answer.headers.vary, 'Origin')
  t.match(String(answer.headers['access-control-expose-headers']), /^Mcp-Session-Id, Mcp-Protocol-Version/)
  t.match(answer.headers['mcp-session-id'], /^[\w-]{40,}$/)
  t.equal(answer.headers['x-two'], 'a, b', 'a header that came twice still does')
})

t.test('row 39: so does a stream', async (t) => {
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
    setImmediate(() => response.end('data: 2\n\n'))
  })
  const answer = await call(url, { key, headers: { origin: ORIGIN } })
  t.equal(answer.headers['access-control-allow-origin'], ORIGIN)
  t.equal(answer.body, 'data: 1\n\ndata: 2\n\n')
})

t.test('row 39: a page can read the sidecar\'s own errors', async (t) => {
  const { url } = await start(t)
  const answer = await call(url, { headers: { origin: ORIGIN } })
  t.equal(answer.status, 401)
  t.equal(answer.headers['access-control-allow-origin'], ORIGIN)
  t.equal((await call(url + 'x', { headers: { origin: ORIGIN } })).headers['access-control-allow-origin'], ORIGIN)
})

t.test('row 39: what the upstream says about Origins is dropped, and ours stands', async (t) => {
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, { 'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true', 'access-control-expose-headers': '*', vary: 'Accept' }).end()
  })
  const answer = await call(url, { key, headers: { origin: ORIGIN } })
  t.equal(answer.headers['access-control-allow-origin'], ORIGIN)
  t.equal(answer.headers['access-control-allow-credentials'], undefined)
  t.equal(answer.headers.vary, 'Accept, Origin')
  const plain = await call(url, { key })
  t.same(Object.keys(plain.headers).filter((name) => name.startsWith('access-control')), [], 'to a caller that is no browser too')
})

t.test('row 39: no Origin, no word about Origins', async (t) => {
  const { url, key } = await start(t)
  const { headers } = await call(url, { key })
  t.same(Object.keys(headers).filter((name) => name.startsWith('access-control') || name === 'vary'), [])
})
