import t, { type Test } from 'tap'
import { call } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream, type Answer } from '../helpers/upstream.js'

async function start (t: Test, answer: Answer, options: { token?: string, headers?: string } = {}) {
  const token = options.token ?? mintToken()
  const upstream = await startUpstream(t, answer)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp"${options.headers === undefined ? '' : `, headers: ${options.headers}`} } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: token } })
  return { token, answer: await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') }), sidecar }
}

t.test('row 45: a token that the upstream echoes in a header is redacted', async (t) => {
  const { token, answer } = await start(t, (seen, response) => {
    const { authorization = '' } = seen.headers
    response.writeHead(200, { 'x-echo': authorization, 'x-debug': `got ${authorization} and ${authorization}`, 'x-list': ['a', authorization] }).end()
  })
  t.notMatch(JSON.stringify(answer.headers), token)
  t.equal(answer.headers['x-echo'], 'Bearer [redacted]')
  t.equal(answer.headers['x-debug'], 'got Bearer [redacted] and Bearer [redacted]')
  t.equal(answer.headers['x-list'], 'a, Bearer [redacted]')
})

t.test('row 45: so it is with another template', async (t) => {
  const { token, answer } = await start(t, (seen, response) => {
    response.writeHead(200, { 'x-echo': String(seen.headers['x-tenant']), 'mcp-session-id': String(seen.headers['x-tenant']) }).end()
  }, { headers: '{ X-Tenant: "t={token};v=1" }' })
  t.notMatch(JSON.stringify(answer.headers), token)
  t.equal(answer.headers['x-echo'], 't=[redacted];v=1')
})

for (const name of ['Authorization', 'X-API-KEY', 'Set-Cookie', 'WWW-Authenticate', 'Authentication-Info', 'Proxy-Authenticate', 'Clear-Site-Data']) {
  t.test(`row 45: ${name} of an answer never reaches the agent`, async (t) => {
    const { answer } = await start(t, (_seen, response) => { response.writeHead(200, { [name]: 'Bearer evil' }).end() })
    t.equal(answer.status, 200)
    t.equal(answer.headers[name.toLowerCase()], undefined)
  })
}

t.test('row 45: an error answer that quotes the token is redacted too', async (t) => {
  const { token, answer } = await start(t, (seen, response) => { response.writeHead(500, { 'x-error': `bad ${String(seen.headers['x-api-key'])}` }).end() })
  t.equal(answer.status, 500)
  t.notMatch(JSON.stringify(answer.headers), token)
})

t.test('row 45: the reason phrase of an answer goes no further', async (t) => {
  const { token, answer } = await start(t, (seen, response) => { response.writeHead(200, `OK ${String(seen.headers['x-api-key'])}`).end() })
  t.equal(answer.status, 200)
  t.notMatch(JSON.stringify(answer), token)
})

t.test('row 45: a token as short as a number does not break the framing of answers', async (t) => {
  const { answer } = await start(t, (_seen, response) => { response.writeHead(200, { 'content-length': 12, 'x-echo': '12' }).end('123456789012') }, { token: '12' })
  t.equal(answer.body, '123456789012')
  t.equal(answer.headers['x-echo'], '[redacted]')
})

t.test('row 45: a header that cannot be sent on does not cost the answer', async (t) => {
  const { answer } = await start(t, (_seen, response) => {
    response.socket?.end(Buffer.from('HTTP/1.1 200 OK\r\nX-Odd: \xff\xfe\r\n__proto__: a\r\n__proto__: b\r\nconstructor: c\r\ntoString: d\r\nContent-Length: 2\r\n\r\n{}', 'latin1'))
  })
  t.equal(answer.status, 200)
  t.equal(answer.body, '{}')
  t.equal(answer.headers.constructor, 'c')
})
