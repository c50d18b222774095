import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { possibleCalls } from '../helpers/json-models.js'
import { freshToken } from '../helpers/peers.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const CALL = rpc('tools/call', { name: 'admin' })
const FINE = rpc('tools/call', { name: 'search' })

/** A session that may call `search` alone, before a server that takes everything. */
async function start (t: Test) {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'application/json' }).end('{}') })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" }, open: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } }, open: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
  const key = await sidecar.keyFor('alice', 'narrow', { allow: ['search'] })
  const wide = await sidecar.keyFor('alice', 'wide')
  /** What any server might call for what has arrived. */
  const reachable = (): string[] => [...new Set(upstream.seen.flatMap(({ body, headers, url }) => [...possibleCalls(body, headers, url)]))]
  return { upstream, sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, key, wide, reachable }
}

const utf16 = Buffer.from(CALL, 'utf16le')

/** Bodies that some server might take for a call of `admin`, and how they are answered. */
const BODIES: Array<[what: string, body: string | Buffer, answer: 'denied' | 'refused']> = [
  ['as it is', CALL, 'denied'],
  ['escaped', CALL.replace('name"', '\\u006eame"').replace('admin', '\\u0061dmin').replace('tools/call', 'tools\\/c\\u0061ll'), 'denied'],
  ['with white space', `\r\n\t ${CALL} \n`, 'denied'],
  ['in another case', CALL.replace('tools/call', 'Tools/Call'), 'denied'],
  ['with a NUL behind the method', CALL.replace('tools/call', 'tools/call\\u0000'), 'denied'],
  ['with a NUL behind the name', CALL.replace('admin', 'search\\u0000admin'), 'denied'],
  ['with spaces around the method', CALL.replace('tools/call', ' tools/call '), 'denied'],
  ['with many spaces before the method', CALL.replace('tools/call', `${' '.repeat(64)}tools/call`), 'denied'],
  ['with a million of them', CALL.replace('tools/call', `${' '.repeat(1_000_000)}TOOLS/call`), 'denied'],
  ['with many NULs before the method', CALL.replace('tools/call', `${'\\u0000'.repeat(200)}tools/call`), 'denied'],
  ['with a half character in the name', CALL.replace('admin', 'search\\ud800'), 'denied'],
  ['by position', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["admin"]}', 'denied'],
  ['with the name in an array', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["admin"]}}', 'denied'],
  ['with a result beside it', CALL.replace('"id"', '"result":{},"id"'), 'denied'],
  ['with a huge id', CALL.replace(':1,', `:${'9'.repeat(100_000)},`), 'denied'],
  ['behind many arguments', rpc('tools/call', { arguments: { list: new Array(200_000).fill(0) }, name: 'admin' }), 'denied'],
  ['with a deep argument', CALL.replace('{"name"', `{"x":${'['.repeat(400)}${']'.repeat(400)},"name"`), 'denied'],
  ['with two names, the good one first', CALL.replace('"name"', '"name":"search","name"'), 'refused'],
  ['with two names, the good one last', CALL.replace('"admin"', '"admin","name":"search"'), 'refused'],
  ['with two names, one escaped', CALL.replace('"name"', '"name":"search","n\\u0061me"'), 'refused'],
  ['with two names, one in another case', CALL.replace('"name"', '"name":"search","Name"'), 'refused'],
  ['with two names, one with a Kelvin sign', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","ｎame":"admin"}}', 'refused'],
  ['with two names, one behind many spaces', CALL.replace('"name"', `"name":"search","${'\\u2003'.repeat(100)}name"`), 'refused'],
  ['with two methods', CALL.replace('"method"', '"method":"ping","method"'), 'refused'],
  ['with two methods, the good one last', CALL.replace('"tools/call"', '"tools/call","method":"ping"'), 'refused'],
  ['with two methods, one in another case', CALL.replace('"method"', '"method":"ping","METHOD"'), 'refused'],
  ['with two params', FINE.replace('"params"', '"params":{"name":"admin"},"params"'), 'refused'],
  ['with two params, one with a long s', FINE.replace('"params"', '"paramſ":{"name":"admin"},"params"'), 'refused'],
  ['with a member for the prototype', '{"jsonrpc":"2.0","id":1,"__proto__":{"method":"tools/call","params":{"name":"admin"}}}', 'refused'],
  ['with a name for the prototype', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","__proto__":{"name":"admin"}}}', 'refused'],
  ['in a batch in a batch', `[[${CALL}]]`, 'refused'],
  ['behind another message', `${FINE}\n${CALL}`, 'refused'],
  ['right behind another message', `${FINE}${CALL}`, 'refused'],
  ['before a comma', `${CALL},`, 'refused'],
  ['before a NUL', `${CALL}\0`, 'refused'],
  ['behind a NUL', `\0${CALL}`, 'refused'],
  ['with a byte order mark', `\ufeff${CALL}`, 'refused'],
  ['in UTF-16', utf16, 'refused'],
  ['in UTF-16 with a byte order mark', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]), 'refused'],
  ['in UTF-16, big end first', Buffer.from(utf16).swap16(), 'refused'],
  ['in Latin-1', Buffer.from(CALL.replace('2.0', '2.0é'), 'latin1'), 'refused'],
  ['in overlong UTF-8', Buffer.from(FINE.replace('"name"', '"name":"search","n\xc1\xa1me":"admin","x"'), 'latin1'), 'refused'],
  ['with a surrogate in UTF-8', Buffer.from(CALL.replace('admin', 'admin\xed\xa0\x80'), 'latin1'), 'refused'],
  ['with NaN', CALL.replace('"id":1', '"id":NaN'), 'refused'],
  ['with a comment', CALL.replace('"id"', '/**/"id"'), 'refused'],
  ['with a trailing comma', CALL.replace('"admin"', '"admin",'), 'refused'],
  ['in single quotes', CALL.replaceAll('"', "'"), 'refused'],
  ['with a number like no other', CALL.replace('"id":1', '"id":0x1'), 'refused'],
  ['with a line break in a string', CALL.replace('2.0', '2.0\n'), 'refused'],
  ['deep in nothing', CALL.replace('{"name"', `{"x":${'['.repeat(600)}${']'.repeat(600)},"name"`), 'refused'],
  ['in megabytes of brackets', '['.repeat(3 << 20), 'refused'],
  ['cut off', CALL.slice(0, -1), 'refused'],
  ['as a string', JSON.stringify(CALL), 'refused'],
  ['as a form', 'method=tools%2Fcall&params=%7B%22name%22%3A%22admin%22%7D', 'refused'],
  ['as YAML', 'method: tools/call\nparams: { name: admin }\n', 'refused'],
  ['as a part of a form', `--x\r\nContent-Disposition: form-data; name="m"\r\n\r\n${CALL}\r\n--x--\r\n`, 'refused'],
]

for (const [what, body, expected] of BODIES) {
  t.test(`T1: a call ${what} is ${expected}, and nothing of it arrives`, async (t) => {
    const { upstream, url, key } = await start(t)
    const answer = await call(url, { key, body })
    if (expected === 'denied') t.match([answer.status, answer.json().error.code], [200, -32602])
    else t.same([answer.status, errorCode(answer)], [400, 'ERR_BODY_INVALID'])
    t.same(upstream.seen, [])
  })
}

const HEADERS: Array<[what: string, headers: Record<string, string>, body: string | Buffer]> = [
  ['compressed with gzip', { 'content-encoding': 'gzip' }, gzipSync(CALL)],
  ['compressed with deflate', { 'content-encoding': 'deflate' }, deflateSync(CALL)],
  ['compressed with raw deflate', { 'content-encoding': 'deflate' }, deflateRawSync(CALL)],
  ['compressed with brotli', { 'Content-Encoding': 'br' }, brotliCompressSync(CALL)],
  ['compressed twice', { 'content-encoding': 'gzip, identity' }, gzipSync(CALL)],
  ['said to be compressed', { 'content-encoding': 'gzip' }, FINE],
  ['compressed, by a header as CGI servers read it', { content_encoding: 'gzip' }, gzipSync(CALL)],
  ['said to be so, by such a header', { content_encoding: 'gzip' }, FINE],
  ['said to be in UTF-16', { 'content-type': 'application/json; charset=utf-16' }, FINE],
  ['in UTF-7', { 'content-type': 'application/json;charset=UTF-7' }, FINE.replace('"name"', '"name":"search","+AG4-ame":"admin","x"')],
  ['in two character sets', { 'content-type': 'application/json; charset=utf-8; charset=utf-7' }, FINE],
  ['with a second content type', { Content_Type: 'application/json; charset=utf-16' }, FINE],
  ['as a form', { 'content-type': 'application/x-www-form-urlencoded' }, FINE],
  ['as text', { 'content-type': 'text/plain' }, FINE],
  ['as YAML', { 'content-type': 'application/yaml' }, FINE],
  ['as a stream of messages', { 'content-type': 'application/x-ndjson' }, FINE],
]

/** Refused as MCP 2026-07-28 has it. */
const MIRRORS: typeof HEADERS = [
  ['with another method in a header', { 'mcp-method': 'tools/call', 'mcp-name': 'admin' }, rpc('ping')],
  ['with no method in the body', { 'mcp-method': 'tools/call', 'mcp-name': 'admin' }, '{"jsonrpc":"2.0","id":1,"result":{}}'],
  ['with another name in a header', { 'mcp-method': 'tools/call', 'mcp-name': 'admin' }, FINE],
  ['with another name in a header alone', { 'mcp-name': 'admin' }, FINE],
  ['with another name, encoded', { 'mcp-method': 'tools/call', 'mcp-name': `=?base64?${Buffer.from('admin').toString('base64')}?=` }, FINE],
  ['with a name that is encoded badly', { 'mcp-method': 'tools/call', 'mcp-name': '=?base64?c2VhcmNo' }, FINE],
  ['with a method in another case', { 'mcp-method': 'Tools/Call' }, FINE],
  ['with a header as CGI servers read it', { mcp_method: 'tools/call', mcp_name: 'admin' }, FINE],
  ['in a batch with a name for one', { 'mcp-name': 'search' }, `[${FINE}]`],
  ['in a batch with a header for one', { 'mcp-method': 'tools/call', 'mcp-name': 'search' }, `[${FINE}]`],
]

for (const [what, headers, body, code] of [...HEADERS.map((row) => [...row, 'ERR_BODY_INVALID'] as const), ...MIRRORS.map((row) => [...row, 'ERR_HEADER_MISMATCH'] as const)]) {
  t.test(`T1: a call ${what} is refused, and nothing of it arrives`, async (t) => {
    const { upstream, url, key, wide } = await start(t)
    const answer = await call(url, { key, body, headers })
    t.same([answer.status, errorCode(answer)], [400, code])
    t.same(upstream.seen, [])
    t.equal((await call(url, { key: wide, body, headers })).status, 200, 'where everything is allowed it is for the server to judge')
    t.same(upstream.seen[0]?.body, Buffer.from(body as string))
  })
}

t.test('T1: headers that say what the body says are passed on', async (t) => {
  const { upstream, url, key } = await start(t)
  for (const headers of [
    { 'mcp-method': 'tools/call', 'mcp-name': 'search', 'mcp-param-region': 'eu' }, { 'mcp-method': ' tools/call ', 'mcp-name': `=?base64?${Buffer.from('search').toString('base64')}?=` }, { 'content-encoding': 'identity' }, { 'content-encoding': '' },
    { 'content-type': 'application/json; charset=utf-8' }, { 'content-type': 'APPLICATION/JSON;charset="UTF-8"' }, { 'content-type': 'application/json;' }, { 'content-type': 'application/vnd.mcp+json' },
  ] as Array<Record<string, string>>) {
    t.equal((await call(url, { key, body: FINE, headers })).status, 200)
    t.match(upstream.seen.at(-1)?.headers, Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.trim()])))
  }
  t.equal((await call(url, { key, body: rpc('prompts/get', { name: 'x' }), headers: { 'mcp-method': 'prompts/get', 'mcp-name': 'y' } })).status, 200, 'what is about no tool is for the server to judge')
})

t.test('T1: a call without a content type is judged all the same', async (t) => {
  const { upstream, sidecar, key } = await start(t)
  const send = async (body: string) => await sendRaw(sidecar.proxyUrl, requestText('POST /tools/mcp HTTP/1.1', ['Host: localhost', `X-Session-Key: ${key}`, `Content-Length: ${Buffer.byteLength(body)}`], body))
  t.match((await send(CALL)).body, /Unknown tool: admin/)
  t.equal((await send(FINE)).status, 200)
  t.equal(upstream.seen.length, 1)
})

t.test('T1: a call in chunks is judged as one', async (t) => {
  const { upstream, sidecar, key } = await start(t)
  const chunks = (body: string): string => [...body].map((character) => `1\r\n${character}\r\n`).join('') + '0\r\n\r\n'
  const answer = await sendRaw(sidecar.proxyUrl, requestText('POST /tools/mcp HTTP/1.1', ['Host: localhost', `X-Session-Key: ${key}`, 'Content-Type: application/json', 'Transfer-Encoding: chunked'], chunks(CALL)))
  t.match(answer.body, /Unknown tool: admin/)
  t.same(upstream.seen, [])
})

t.test('T1: no method and no path of HTTP is a way around', async (t) => {
  const { upstream, url, key, reachable } = await start(t)
  const query = `?jsonrpc=2.0&id=1&method=tools%2Fcall&params=${encodeURIComponent('{"name":"admin"}')}`
  for (const method of ['GET', 'DELETE', 'POST']) {
    for (const path of ['', '/', '/messages', '/messages?session=1']) {
      const answer = await call(url + path, { method, key, body: CALL, headers: { 'content-length': String(CALL.length) } })
      t.ok(method === 'GET' ? answer.status === 200 : /Unknown tool/.test(answer.body), `${method} ${path}`)
    }
    for (const wanted of [query, '?METHOD=x', '?a=tools/call', '?tools%2fcall', '?x[method]=1&y=tools%2Fcall']) {
      const answer = await call(url + wanted, { method, key, ...(method === 'POST' ? { body: rpc('ping') } : {}) })
      t.same([answer.status, errorCode(answer)], [400, 'ERR_BODY_INVALID'], `${method} ${wanted}`)
    }
    const answer = await call(url, { method, key, body: '', headers: { 'mcp-method': 'tools/call', 'mcp-name': 'admin' } })
    t.same([answer.status, errorCode(answer)], [400, 'ERR_HEADER_MISMATCH'], `${method} with headers alone`)
    t.equal((await call(url + '?session=a&tools=all', { method, key, ...(method === 'POST' ? { body: '' } : {}) })).status, 200)
  }
  t.same(reachable(), [])
  t.ok(upstream.seen.every(({ body }) => body.length === 0), 'what a GET brought has not gone on')
})

t.test('row 44: whatever a session sends, no server of whatever habits could call a tool that it may not', async (t) => {
  const { upstream, url, key, reachable } = await start(t)
  const piece = fc.constantFrom('"method"', '"METHOD"', '"params"', '"name"', '"n\\u0061me"', '"id"', '"tools/call"', '"ping"', '"search"', '"admin"', ':', ',', '{', '}', '[', ']', '1', 'null', ' ', '\n', '\0', '\ufeff', 'NaN', FINE, CALL, `[${FINE},${CALL}]`)
  const headers = fc.constantFrom<Record<string, string>>({}, {}, {}, { 'content-encoding': 'gzip' }, { 'content-type': 'application/json; charset=utf-16' }, { 'mcp-method': 'tools/call', 'mcp-name': 'admin' })
  const shaped = fc.tuple(fc.constantFrom(FINE, CALL, `[${FINE},${CALL}]`, `[${CALL},${FINE},${FINE}]`), fc.nat(), fc.nat(2), fc.array(piece, { maxLength: 3 })).map(([text, at, cut, put]) => text.slice(0, at % text.length) + put.join('') + text.slice(at % text.length + cut))
  const body = fc.oneof({ weight: 2, arbitrary: shaped }, fc.constantFrom(FINE, ` ${FINE}`, `[${FINE},${CALL}]`), fc.array(piece, { minLength: 1, maxLength: 12 }).map((pieces) => pieces.join(''))).chain((text) => fc.constantFrom(Buffer.from(text), Buffer.from(text), Buffer.from(text), Buffer.from(text, 'utf16le'), gzipSync(text)))
  const cases = fc.sample(fc.tuple(body, headers), 600)
  for (let n = 0; n < cases.length; n += 20) await Promise.all(cases.slice(n, n + 20).map(async ([body, headers]) => await call(url, { key, body, headers })))
  t.same(reachable().filter((tool) => tool !== 'search'), [])
  t.ok(upstream.seen.length > 30, `${upstream.seen.length} of ${cases.length} arrived`)
})
