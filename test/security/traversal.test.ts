import fc from 'fast-check'
import t from 'tap'
import { mintToken } from '../helpers/mint.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const upstream = await startUpstream(t)
const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/base/mcp", path: /tools/mcp } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() } })
const key = await sidecar.keyFor('alice')

/** Sends a target to the letter; gives back the status and the paths that the upstream saw. */
async function send (target: string) {
  const before = upstream.seen.length
  const { status } = await sendRaw(sidecar.proxyUrl, requestText(`GET ${target} HTTP/1.1`, ['Host: localhost', `X-Session-Key: ${key}`]))
  return { status, urls: upstream.seen.slice(before).map(({ url }) => url) }
}

/**
 * Whether the most lenient reader of all would still find this path at or below the base: decoded over and over,
 * backslashes as slashes, parameters cut off, double slashes as one.
 */
function staysBelow (url: string, base: string): boolean {
  let path = url.split(/[?#]/, 1)[0] as string
  for (let i = 0; i < 4; i++) path = path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
  const segments: string[] = []
  for (const segment of path.replaceAll('\\', '/').split('/').map((part) => part.split(';', 1)[0] as string)) {
    if (segment === '..') segments.pop()
    else if (segment !== '' && segment !== '.') segments.push(segment)
  }
  const resolved = '/' + segments.join('/')
  return resolved === base || resolved.startsWith(base + '/')
}

const REFUSED = [
  '/tools/mcp/..', '/tools/mcp/../', '/tools/mcp/../../admin', '/tools/mcp/a/../../b', '/tools/mcp/.', '/tools/mcp/./a',
  '/tools/mcp/...', '/tools/mcp/..a', '/tools/mcp/a../b', '/tools/mcp/..a/b',
  '/tools/mcp/%2e%2e', '/tools/mcp/%2E%2E/admin', '/tools/mcp/.%2e/admin', '/tools/mcp/%2e./admin', '/tools/mcp/%2e',
  '/tools/mcp/..%2fadmin', '/tools/mcp/..%2Fadmin', '/tools/mcp/a%2fb', '/tools/mcp/%2f%2fother.example',
  '/tools/mcp/..%5cadmin', '/tools/mcp/..%5Cadmin', '/tools/mcp/..\\admin', '/tools/mcp\\..\\admin', '/tools/mcp/a%5cb',
  '/tools/mcp/%252e%252e/admin', '/tools/mcp/%25252e', '/tools/mcp/..%252fadmin', '/tools/mcp/a%25b',
  '/tools/mcp//other.example', '//tools/mcp', '//other.example/tools/mcp', '/tools//mcp', '/tools/mcp//', '///tools/mcp',
  '/tools/mcp/..;/admin', '/tools/mcp/..;a=b/admin', '/tools/mcp/.;/a', '/tools/mcp/..%3b/admin', '/tools/mcp/..%3Ba/admin',
  '/tools/mcp/%00', '/tools/mcp/a%00b', '/tools/mcp/%09', '/tools/mcp/%0d%0aX-Evil:%20a', '/tools/mcp/%7f', '/tools/mcp/a%0Ab',
  '/tools/mcp/a\tb', '/tools/mcp/a\0b', '/tools/mcp/a\u000bb', '/tools/mcp/\u00e9', '/tools/mcp/a\u0080b',
  '/tools/mcp/%', '/tools/mcp/%2', '/tools/mcp/%zz', '/tools/mcp/%ff', '/tools/mcp/%c0%ae%c0%ae/admin', '/tools/mcp/%c0%af',
  '/tools/mcp/a"b', '/tools/mcp/<a>', '/tools/mcp/{a}', '/tools/mcp/a|b', '/tools/mcp/a^b', '/tools/mcp/`a`',
  '/tools/mcp#/../admin', '/tools/mcp?a=b#/../admin', '/tools/mcp?a b', '/tools/mcp?\u00e9', '/tools/mcp?a\tb',
  'http://localhost/tools/mcp', 'http://other.example/tools/mcp', 'HTTP://localhost/tools/mcp', 'https://other.example/', 'file:///etc/passwd',
  '*', 'tools/mcp', '?a', 'localhost:80', '',
]

for (const target of REFUSED) {
  t.test(`row 38: ${JSON.stringify(target)} is refused`, async (t) => {
    const { status, urls } = await send(target)
    t.equal(status, 400)
    t.same(urls, [])
  })
}

for (const target of ['/', '/tools', '/tools/', '/tools/mcpx', '/tools/mcp;a=b', '/Tools/mcp', '/tools/MCP', '/tools%2dx/mcp', '/tools/%6dcp/a', '/base/mcp']) {
  t.test(`row 38: ${target} leads nowhere`, async (t) => {
    const { status, urls } = await send(target)
    t.equal(status, 404)
    t.same(urls, [])
  })
}

for (const [target, url] of [
  ['/tools/mcp', '/base/mcp'],
  ['/tools/mcp/', '/base/mcp/'],
  ['/tools/mcp/a/b', '/base/mcp/a/b'],
  ['/tools/mcp/.a/b..c/a.', '/base/mcp/.a/b..c/a.'],
  ['/tools/mcp/a;v=1/b', '/base/mcp/a;v=1/b'],
  ['/tools/mcp/caf%C3%A9', '/base/mcp/caf%C3%A9'],
  ['/tools/mcp/a%20b', '/base/mcp/a%20b'],
  ['/tools/mcp?a=../../b&c=%2e%2e%2f', '/base/mcp?a=../../b&c=%2e%2e%2f'],
  ['/tools/mcp?next=//other.example', '/base/mcp?next=//other.example'],
  ['/tools/mcp/a?', '/base/mcp/a'],
] as const) {
  t.test(`row 38: ${target} reaches the upstream as ${url}`, async (t) => {
    const { status, urls } = await send(target)
    t.equal(status, 200)
    t.same(urls.map((seen) => seen.replace(/\?$/, '')), [url])
  })
}

t.test('row 38: the authority form of CONNECT opens no tunnel', async (t) => {
  const before = upstream.seen.length
  const { status } = await sendRaw(sidecar.proxyUrl, requestText(`CONNECT ${new URL(upstream.origin).host} HTTP/1.1`, ['Host: localhost', `X-Session-Key: ${key}`]))
  t.equal(status, 0, 'closed without a word')
  t.equal(upstream.seen.length, before)
})

t.test('row 38: whatever the target is, the upstream sees paths at or below its base only', async (t) => {
  const piece = fc.constantFrom('..', '.', '%2e', '%2E', '%2f', '%5c', '\\', '/', '//', '%252e', '%25', '%00', '%09', '%0a', '%3b', ';', '#', '?', '@', ':', '%ff', '%c0%ae', 'a', 'mcp', 'tools', '%74', '%6d', '*', '&', '=', '+', '~', '%7f', '|', '"', '\u00e9', 'http://', 'x')
  const tail = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
  const target = fc.oneof(
    { weight: 6, arbitrary: tail.map((text) => '/tools/mcp' + text) },
    { weight: 2, arbitrary: tail.map((text) => '/tools/mcp/' + text) },
    { weight: 1, arbitrary: tail.map((text) => '/' + text) },
    { weight: 1, arbitrary: tail.filter((text) => text !== '') })
  let forwarded = 0
  await fc.assert(fc.asyncProperty(target, async (target) => {
    const { urls } = await send(target)
    forwarded += urls.length
    return urls.every((url) => url.startsWith('/base/mcp') && staysBelow(url, '/base/mcp'))
  }), { numRuns: 400 })
  t.ok(forwarded > 10, 'some of them are harmless, and get there')
})

t.end()
