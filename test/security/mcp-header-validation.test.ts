import t from 'tap'
import { call, errorCode } from '../helpers/call.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream, type Seen } from '../helpers/upstream.js'
import { mintToken } from '../helpers/mint.js'

const PRINCIPAL = 'principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }'

async function start (t: Test, options: { callers?: string, upstream?: string } = {}) {
  const token = mintToken()
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, `
callers: { ${options.callers ?? ''} }
upstreams: { tools: { url: "${upstream.origin}/mcp"${options.upstream === undefined ? '' : `, ${options.upstream}`} } }
${PRINCIPAL}
`, { env: { TOKEN: token } })
  return { token, upstream, url: `${sidecar.proxyUrl}/tools/mcp`, sidecar, key: await sidecar.keyFor('alice') }
}
type Test = Parameters<typeof startSidecar>[0]

/** Every value of a header as it went over the wire, whatever its case and with `_` read as `-`. */
function valuesOf (seen: Seen | undefined, name: string): string[] {
  const { rawHeaders } = seen as Seen
  return rawHeaders.flatMap((raw, i) => i % 2 === 0 && raw.toLowerCase().replaceAll('_', '-') === name ? [rawHeaders[i + 1] as string] : [])
}

/** Sends a `{}` with these header lines, and gives back what the upstream saw. */
async function post (at: { url: string, key: string, upstream: { seen: Seen[] } }, lines: string[], keyLine = `X-Session-Key: ${at.key}`) {
  const answer = await sendRaw(at.url, requestText(`POST ${new URL(at.url).pathname} HTTP/1.1`, ['Host: localhost', keyLine, 'Content-Length: 2', ...lines], '{}'))
  return { answer, seen: at.upstream.seen.at(-1) }
}

t.test('row 35: the pair is injected exactly once, from the default templates', async (t) => {
  const at = await start(t)
  t.equal((await call(at.url, { key: at.key })).status, 200)
  t.same(valuesOf(at.upstream.seen[0], 'authorization'), [`Bearer ${at.token}`])
  t.same(valuesOf(at.upstream.seen[0], 'x-api-key'), [at.token])
})

for (const spelling of ['Authorization', 'authorization', 'AUTHORIZATION', 'aUtHoRiZaTiOn']) {
  t.test(`row 35: a caller's own ${spelling} never reaches the upstream`, async (t) => {
    const at = await start(t)
    const { answer, seen } = await post(at, [`${spelling}: Bearer evil`])
    t.equal(answer.status, 200)
    t.same(valuesOf(seen, 'authorization'), [`Bearer ${at.token}`])
  })
}

for (const spelling of ['X-API-KEY', 'x-api-key', 'X_API_KEY', 'x_Api-kEy', 'X-Api_Key']) {
  t.test(`row 35: a caller's own ${spelling} never reaches the upstream`, async (t) => {
    const at = await start(t)
    const { seen } = await post(at, [`${spelling}: evil`])
    t.same(valuesOf(seen, 'x-api-key'), [at.token])
  })
}

for (const name of ['Cookie', 'COOKIE', 'cookie', 'Cookie2', 'Set-Cookie', 'Set_Cookie', 'Proxy-Authorization', 'PROXY_AUTHORIZATION', 'proxy_authorization', 'Proxy-Authenticate', 'Proxy-Connection']) {
  t.test(`row 35: a caller's ${name} never reaches the upstream`, async (t) => {
    const { seen } = await post(await start(t), [`${name}: evil`])
    t.same(valuesOf(seen, name.toLowerCase().replaceAll('_', '-')), [])
  })
}

t.test('row 35: duplicates of X-API-KEY in several spellings are all gone', async (t) => {
  const at = await start(t)
  const { answer, seen } = await post(at, ['X-API-KEY: evil', 'x-api-key: evil', 'X_API_KEY: evil', 'x_api_key: evil'])
  t.equal(answer.status, 200)
  t.same(valuesOf(seen, 'x-api-key'), [at.token])
})

t.test('row 35: two Authorization headers are two opinions, and refused', async (t) => {
  const at = await start(t)
  const { answer, seen } = await post(at, ['Authorization: Bearer evil', 'authorization: Bearer other'])
  t.equal(answer.status, 400)
  t.equal(seen, undefined)
})

for (const [how, line] of [['X-Session-Key', 'X-Session-Key: KEY'], ['Authorization', 'Authorization: Bearer KEY'], ['a bearer in lower case', 'authorization: bearer KEY'], ['a bearer with spaces', 'Authorization: Bearer   KEY  ']] as const) {
  t.test(`row 35: a session key sent as ${how} is not forwarded`, async (t) => {
    const at = await start(t)
    const { answer, seen } = await post(at, [], line.replace('KEY', at.key))
    t.equal(answer.status, 200)
    t.notMatch((seen as Seen).rawHeaders.join('\n'), at.key)
  })
}

for (const header of ['X-My-Key', 'x_my_key', 'X_My-Key']) {
  t.test(`row 35: the session key's own header is not forwarded when it is called ${header}`, async (t) => {
    const at = await start(t, { callers: `header: ${header}` })
    const { answer, seen } = await post(at, [], `${header}: ${at.key}`)
    t.equal(answer.status, 200)
    t.same(valuesOf(seen, 'x-my-key'), [])
  })
}

t.test('row 35: the default header of a session key is not forwarded in the spelling of a CGI server either', async (t) => {
  const at = await start(t)
  const { seen } = await post(at, ['X_Session_Key: vk_another'])
  t.same(valuesOf(seen, 'x-session-key'), [])
})

t.test('row 35: two session keys in one request are refused', async (t) => {
  const at = await start(t)
  const { answer, seen } = await post(at, [`x-session-key: ${at.key}`])
  t.equal(answer.status, 400)
  t.equal(seen, undefined)
})

t.test('row 35: templates of the config replace the default pair', async (t) => {
  const at = await start(t, { upstream: 'headers: { X-Token: "Token {token}; v=1" }' })
  const { seen } = await post(at, ['X-API-KEY: evil', 'Authorization: Bearer evil'])
  t.same(valuesOf(seen, 'x-token'), [`Token ${at.token}; v=1`])
  t.same(valuesOf(seen, 'authorization'), [], 'the caller has no way of filling a gap')
  t.same(valuesOf(seen, 'x-api-key'), [])
})

for (const spelling of ['X-Tenant-Token', 'x_tenant_token', 'X_Tenant-Token', 'x-tenant-token']) {
  t.test(`row 35: a caller's ${spelling} does not stand beside an injected X_Tenant_Token`, async (t) => {
    const at = await start(t, { upstream: 'headers: { X_Tenant_Token: "{token}" }' })
    const { seen } = await post(at, [`${spelling}: evil`])
    t.same(valuesOf(seen, 'x-tenant-token'), [at.token])
  })
}

for (const connection of ['authorization', 'x-api-key', 'Authorization, X-API-KEY, close', 'close, AUTHORIZATION,x-api-key', ' ,authorization;x']) {
  t.test(`row 34: Connection: ${connection} strips nothing of ours`, async (t) => {
    const at = await start(t)
    const socketCloses = /close/.test(connection) ? [] : ['Connection: close']
    const { answer, seen } = await post(at, [`Connection: ${connection}`, ...socketCloses])
    t.equal(answer.status, 200)
    t.same(valuesOf(seen, 'authorization'), [`Bearer ${at.token}`])
    t.same(valuesOf(seen, 'x-api-key'), [at.token])
  })
}

t.test('row 34: what a caller lists in Connection of its own goes no further (RFC 9110 §7.6.1)', async (t) => {
  const { seen } = await post(await start(t), ['Connection: close, x-hop', 'X-Hop: one', 'X-End: two'])
  t.same([valuesOf(seen, 'x-hop'), valuesOf(seen, 'x-end'), valuesOf(seen, 'connection')], [[], ['two'], ['keep-alive']])
})

t.test('row 34: hop-by-hop headers end here', async (t) => {
  const { seen } = await post(await start(t), ['TE: trailers', 'Trailer: X-T', 'Keep-Alive: timeout=5', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk', 'Proxy-Connection: keep-alive'])
  for (const name of ['te', 'trailer', 'keep-alive', 'upgrade', 'http2-settings', 'proxy-connection']) t.same(valuesOf(seen, name), [], name)
})

t.test('row 34: the headers of MCP pass through, unknown Mcp-Param-* among them', async (t) => {
  const lines = ['MCP-Protocol-Version: 2025-11-25', 'Last-Event-ID: 7', 'Mcp-Method: tools/call', 'Mcp-Name: x', 'Mcp-Param-Region: eu', 'Accept: text/event-stream']
  const { seen } = await post(await start(t), lines)
  for (const line of lines) {
    const [name = '', value] = line.split(': ')
    t.same(valuesOf(seen, name.toLowerCase()), [value])
  }
})

t.test('row 34: names that JavaScript objects have of their own are headers like any other', async (t) => {
  const { answer, seen } = await post(await start(t), ['__proto__: a', 'constructor: b', 'toString: c', 'hasOwnProperty: d'])
  t.equal(answer.status, 200)
  t.same(valuesOf(seen, 'constructor'), ['b'])
})

t.test('row 35: the upstream gets its own Host', async (t) => {
  const at = await start(t)
  await post(at, [])
  t.same(valuesOf(at.upstream.seen[0], 'host'), [new URL(at.upstream.origin).host])
})

t.test('row 35: a caller without a key keeps its own token where that is allowed, and nothing else', async (t) => {
  const at = await start(t, { callers: 'relay_authorization: true' })
  const own = mintToken()
  const { answer, seen } = await post(at, [`Authorization: Bearer ${own}`, 'X_Api_Key: evil', 'Cookie: evil', 'Proxy-Authorization: evil'], 'X-Other: 1')
  t.equal(answer.status, 200)
  t.same(valuesOf(seen, 'authorization'), [`Bearer ${own}`])
  for (const name of ['x-api-key', 'cookie', 'proxy-authorization']) t.same(valuesOf(seen, name), [], name)
})

t.test('row 35: with a session key its own token is replaced even where relaying is allowed', async (t) => {
  const at = await start(t, { callers: 'relay_authorization: true' })
  const { seen } = await post(at, ['Authorization: Bearer evil', 'X-API-KEY: evil'])
  t.same(valuesOf(seen, 'authorization'), [`Bearer ${at.token}`])
  t.same(valuesOf(seen, 'x-api-key'), [at.token])
})

for (const line of ['Authorization: KEY', 'Authorization: Bearer KEY x', 'Authorization: Bearer\tKEY', 'Authorization: Token KEY', 'X-API-KEY: KEY', 'X-API-KEY: Bearer KEY']) {
  t.test(`row 35: a session key that strays into "${line}" is refused, not relayed to the upstream`, async (t) => {
    const at = await start(t, { callers: 'relay_authorization: true' })
    const { answer, seen } = await post(at, [], line.replace('KEY', at.key))
    t.equal(answer.status, 401)
    t.equal(seen, undefined)
  })
}

t.test('row 35: without relaying, a caller that brings its own token is a caller without a key', async (t) => {
  const at = await start(t)
  const answer = await call(at.url, { headers: { authorization: `Bearer ${mintToken()}`, 'x-api-key': mintToken() } })
  t.equal(answer.status, 401)
  t.equal(errorCode(answer), 'ERR_SESSION_REQUIRED')
  t.same(at.upstream.seen, [])
})

t.test('row 35: an anonymous call goes out without any credential, its caller\'s included', async (t) => {
  const at = await start(t, { upstream: 'anonymous: [no_principal]' })
  const { answer, seen } = await post(at, ['Authorization: Bearer evil', 'X-API-KEY: evil', 'Cookie: evil'], 'X-Other: 1')
  t.equal(answer.status, 200)
  for (const name of ['authorization', 'x-api-key', 'cookie']) t.same(valuesOf(seen, name), [], name)
})

for (const [what, spoil] of [['a space', 'a b'], ['a line break', 'a\r\nX-Evil: b'], ['a NUL', 'a\0b'], ['a quote', 'a"b'], ['a comma', 'a,b'], ['a character beyond ASCII', 'aéb'], ['an escape', 'a\u001b[31m'], ['too many characters', 'a'.repeat(20_000)]] as const) {
  t.test(`row 35: a token with ${what} is never sent`, async (t) => {
    const upstream = await startUpstream(t)
    const sidecar = await startSidecar(t, `upstreams: { tools: { url: "${upstream.origin}/mcp", deadline: 100ms } }\n${PRINCIPAL}`, { env: { TOKEN: mintToken() + spoil } })
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })
    t.equal(answer.status, 503)
    t.equal(errorCode(answer), 'ERR_CREDENTIAL_UNAVAILABLE')
    t.same(upstream.seen, [])
  })
}
