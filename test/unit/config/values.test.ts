import t from 'tap'
import { collides, formatListen, readListen } from '../../../src/config/listen.js'
import { formatPath, looksLikeSecret } from '../../../src/config/problem.js'
import { READERS, type ReaderName } from '../../../src/config/readers.js'
import { isLoopback, resourceOf } from '../../../src/config/url.js'

/** Texts that a reader takes, and texts that it refuses with an error that does not repeat them. */
const TEXTS: Partial<Record<ReaderName, { good: string[], bad: string[] }>> = {
  upstreamUrl: {
    good: ['http://h', 'https://h:8443/mcp/', 'HTTP://[::1]:1/x'],
    bad: ['ftp://h/x', 'file:///x', 'h:80', '/mcp', 'http:h', 'http:/h', 'http://', 'http://u@h', 'http://u:p@h/', 'http://:p@h/', 'http://h/#f', 'http://h/#',
      'http://h/?q', 'http://h/?', 'http://h /', 'http://h\\@x/', ' http://h', 'http://h\n', 'http://h:99999'],
  },
  httpUrl: { good: ['https://id.example/token?tenant=1'], bad: ['https://u:p@h/', 'https://h/#f', 'javascript:x'] },
  issuer: { good: ['https://id.example/realm'], bad: ['https://id.example/?x', 'https://id.example/#x'] },
  resource: { good: ['https://h/mcp', 'urn:mcp:tools', 'https://h/?x', 'none'], bad: ['h', 'None', 'https://h/#x', 'https://u:p@h/', 'https://h/ x', 'x:', 'https://'] },
  mountPath: {
    good: ['/tools/mcp', '/a', '/a/', '/A.b_c~d-e/...', '/tokens', '/.well-knowns'],
    bad: ['tools', '/', '//', '/a//b', '//a', '/a//', '/a/../b', '/a/..', '/./a', '/a/.', '/a%2fb', '/:id', '/a/*', '/a?b', '/a#b', '/a b', '/a\\b', '/a;b', '/é',
      '/token', '/token/x', '/TOKEN', '/authorize', '/register/', '/.well-known/x'],
  },
  injectedHeader: {
    good: ['Authorization', 'X-API-KEY', 'Cookie', 'x_y'],
    bad: ['Host', 'content-length', 'Content-Type', 'Transfer-Encoding', 'Connection', 'Keep-Alive', 'TE', 'Trailer', 'Upgrade', 'Proxy-Authorization',
      'Expect', 'Mcp-Session-Id', 'a b', 'a:b', '', 'é', 'a\r\nb', 'Accept', 'Last-Event-ID'],
  },
  requestHeader: { good: ['Accept', 'Content-Type', 'X-App', 'Cookie'], bad: ['Host', 'Content-Length', 'Content-Encoding', 'a b', ''] },
  callerHeader: { good: ['X-Session-Key', 'X-API-KEY'], bad: ['Authorization', 'AUTHORIZATION', 'Host', 'Content-Type', 'Mcp-Session-Id', 'Cookie', 'Sec-Fetch-Site', 'a b', ''] },
  tokenTemplate: { good: ['{token}', 'Bearer {token}', 'a="{token}"'], bad: ['', 'Bearer', '{token}{token}', '{Token}', '{token}\r\nX: y', '{token} ', ' {token}', 'é {token}'] },
  principal: { good: ['alice', 'alice@example.com', 'a b', 'ä', 'x'.repeat(256), 'spiffe://x/y'], bad: ['', ' a', 'a ', 'a\nb', 'a\u2028b', 'a\u200bb', '\u0000', 'x'.repeat(257)] },
  agent: { good: ['planner', 'x'.repeat(128)], bad: ['', 'x'.repeat(129), 'a\tb'] },
  upstream: { good: ['tools', 'a', '0', 'A_b.c-d', 'x'.repeat(64)], bad: ['', '-a', '.a', '_a', 'a/b', 'a b', 'x'.repeat(65), 'é', 'a\n'] },
  scope: { good: ['a', 'tools:read tools:call'], bad: ['', ' a', 'a  b', 'a"b', 'a\\b', 'a\nb'] },
  host: { good: ['valet', 'Valet.internal:8401', '[::1]:1', '10.0.0.1'], bad: ['', 'http://x', 'a b', '*.x', 'x/y', 'x:port', '-'] },
  origin: {
    good: ['https://app.example', 'http://localhost:3000', 'vscode-webview://id'],
    bad: ['*', 'null', 'https://app.example/', 'https://App.example', 'https://app.example:443', 'app.example', 'https://u@h', 'https://*.x', 'https://'],
  },
  timestamp: {
    good: ['2027-01-01T00:00:00Z', '2027-01-01t00:00:00.123z', '2024-02-29 23:59:59+05:30', '1999-01-01T00:00:00Z'],
    bad: ['2027-01-01', '2027-01-01T00:00:00', '2027-02-29T00:00:00Z', '2027-13-01T00:00:00Z', '2027-01-01T24:01:00Z', '2027-01-01T00:00:00+25:00', 'x', ''],
  },
  toolPattern: { good: ['search', 'search_*', '*', '?', 'a b', 'Suche_für', '\u{1f600}*', 'x'.repeat(256)], bad: ['', 'x'.repeat(257), 'a\nb', 'a\0', '\ud83d', 'a\ud83d*'] },
  pointer: { good: ['/a', '/a/b~0~1', '/', '/0'], bad: ['', 'a', '/~', '/~2', '$.a'] },
  envName: { good: ['A', '_a1'], bad: ['', '1a', 'a-b', 'a b', 'A=b', 'Abcdefghij0123456789x', `vk_${'a'.repeat(43)}`] },
  file: { good: ['x', '/a b'], bad: ['', 'a\0b'] },
  listen: {
    good: ['127.0.0.1:8401', '[::1]:0', '[::]:65535', 'localhost:1', '0.0.0.0:80', 'unix:/run/x.sock'],
    bad: ['', '8401', ':8401', 'localhost', 'localhost:65536', 'localhost:x', '::1:80', '[::1]', '[zz]:1', '[:::]:1', 'unix:x.sock', 'unix:', `unix:/${'x'.repeat(103)}`,
      'unix:/a\0b', 'http://localhost:1', 'a b:1'],
  },
}

for (const [name, { good, bad }] of Object.entries(TEXTS)) {
  t.test(name, async (t) => {
    const read = READERS[name as ReaderName]
    // TAP output breaks on the line separators that are among these texts.
    const shown = (text: string) => JSON.stringify(text).replace(/[^\x20-\x7e]/g, '?')
    for (const text of good) t.doesNotThrow(() => read(text), shown(text))
    for (const text of bad) t.throws(() => read(text), { name: 'ValueError' }, shown(text))
  })
}

t.test('every reader refuses the empty text, from which its expectation is taken', async (t) => {
  for (const [name, read] of Object.entries(READERS)) t.throws(() => read(''), { name: 'ValueError' }, name)
})

t.test('what readers give back', async (t) => {
  t.equal(READERS.mountPath('/a/b/'), '/a/b')
  t.equal(READERS.host('Valet:1'), 'valet:1')
  t.equal(READERS.callerHeader('X-Key'), 'x-key')
  t.equal(READERS.timestamp('2027-01-01T00:00:00.5+01:00'), Date.UTC(2026, 11, 31, 23, 0, 0, 500))
  t.strictSame(READERS.listen('[::1]:1'), { host: '::1', port: 1 })
  for (const text of ['127.0.0.1:8401', '[::1]:0', 'unix:/run/x.sock']) t.equal(formatListen(readListen(text)), text)
})

t.test('addresses that cannot both be bound', async (t) => {
  const both = (a: string, b: string) => collides(readListen(a), readListen(b))
  t.ok(both('127.0.0.1:1', '127.0.0.1:1'))
  t.ok(both('localhost:1', '127.0.0.1:1'))
  t.ok(both('0.0.0.0:1', '10.0.0.1:1'))
  t.ok(both('10.0.0.1:1', '[::]:1'))
  t.ok(both('unix:/a', 'unix:/a'))
  t.notOk(both('127.0.0.1:1', '127.0.0.1:2'))
  t.notOk(both('127.0.0.1:0', '127.0.0.1:0'))
  t.notOk(both('10.0.0.1:1', '10.0.0.2:1'))
  t.notOk(both('unix:/a', 'unix:/b'))
  t.notOk(both('unix:/a', '127.0.0.1:1'))
  t.notOk(both('127.0.0.1:1', 'unix:/a'))
})

t.test('loopback', async (t) => {
  for (const host of ['localhost', 'LOCALHOST', 'a.localhost', '127.0.0.1', '127.9.9.9', '::1', '[::1]']) t.ok(isLoopback(host), host)
  for (const host of ['0.0.0.0', 'localhost.example', '127.0.0.1.example', '10.0.0.1', '::', 'xlocalhost']) t.notOk(isLoopback(host), host)
})

t.test('the resource of an upstream has no slash that nobody wrote', async (t) => {
  const resource = (written: string) => resourceOf(new URL(written), written)
  t.equal(resource('https://h'), 'https://h')
  t.equal(resource('https://h/'), 'https://h/')
  t.equal(resource('HTTPS://H:443/mcp'), 'https://h/mcp')
})

t.test('paths show names, and nothing that looks like a secret', async (t) => {
  t.equal(formatPath(['upstreams', 'tools', 'url']), 'upstreams.tools.url')
  t.equal(formatPath(['sessions', 0, 'key']), 'sessions[0].key')
  t.equal(formatPath(['principals', 'a.b@c']), 'principals["a.b@c"]')
  t.equal(formatPath(['principals', 'x'.repeat(100)]), `principals["${'x'.repeat(64)}…"]`)
  t.equal(formatPath([]), '')
  for (const secret of ['token:abc', `vk_${'a'.repeat(43)}`, 'eyJhbGciOiJIUzI1NiJ9', 'deadbeef'.repeat(4), 'AbCdEfGhIjKlMnOpQr123']) {
    t.ok(looksLikeSecret(secret), secret)
    t.equal(formatPath(['principals', secret]), 'principals["(not shown)"]')
  }
  for (const name of ['alice', '123e4567-e89b-12d3-a456-426614174000', 'CLIENT_SECRET_FOR_PRODUCTION_2', 'spiffe://example/x']) t.notOk(looksLikeSecret(name), name)
})
