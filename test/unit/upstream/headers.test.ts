import fc from 'fast-check'
import t from 'tap'
import { askingPlainly, requestHeaderFilter, responseHeaders } from '../../../src/upstream/headers.js'

const base = { base: new URL('http://up.example/mcp'), path: '/tools/mcp' }
const session = { show: (own: string) => `shown-${own}` }
const respond = (headers: Record<string, string | string[] | undefined>, token?: string): string[] => responseHeaders(headers, token, base, session)

t.test('row 35: no spelling of a header that is ours or secret gets through', (t) => {
  const filter = requestHeaderFilter('x_session_key', ['X-Tenant_Token', 'Authorization'])
  const secret = ['authorization', 'x-api-key', 'cookie', 'proxy-authorization', 'x-session-key', 'x-tenant-token', 'set-cookie', 'host', 'content-length', 'transfer-encoding']
  const spelled = fc.constantFrom(...secret).chain((name) => fc.array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((flips) => [...name].map((char, i) => char === '-' && flips[i] === true ? '_' : char).join('')))
  fc.assert(fc.property(spelled, (name) => filter([name, 'evil'], undefined, false).length === 0))
  t.end()
})

t.test('row 35: a relayed caller keeps its own pair in its proper spelling only', (t) => {
  const filter = requestHeaderFilter('x-session-key', ['authorization', 'x-api-key'])
  t.same(filter(['Authorization', 'a', 'X-API-KEY', 'b', 'x_api_key', 'c', 'cookie', 'd'], undefined, true), ['authorization', 'a', 'x-api-key', 'b'])
  t.end()
})

t.test('row 34: what came in two lines goes on in two, but for what Connection lists', (t) => {
  const filter = requestHeaderFilter('x-session-key', [])
  t.same(filter(['X-A', '1', 'x-a', '2', 'X-Hop', '3'], 'close, x-hop', false), ['x-a', '1', 'x-a', '2'])
  t.end()
})

t.test('row 43: made-up names fill no memory and are judged all the same', (t) => {
  const filter = requestHeaderFilter('x-session-key', [])
  for (let i = 0; i < 1_000; i++) t.same(filter([`X-Made-Up-${i}`, 'v', `x_api_kEY${i}`, 'w'], undefined, false), [`x-made-up-${i}`, 'v', `x_api_key${i}`, 'w'])
  t.same(filter(['x_Api_keY', 'evil'], undefined, false), [])
  t.end()
})

t.test('row 34: an answer\'s Connection takes along what it lists', (t) => {
  t.same(respond({ connection: 'close, X-Hop', 'x-hop': '1', 'x-end': '2' }), ['x-end', '2'])
  t.same(respond({ connection: ['close', 'x-hop'], 'x-hop': '1' }), [])
  t.end()
})

t.test('row 45: values that cannot be sent are left out, one by one', (t) => {
  t.same(respond({ 'x-a': 'a\u0000', 'x-b': 'ok\u00ff\t', 'x-c': '\u4e2d', 'x-d': undefined }), ['x-b', 'ok\u00ff\t'])
  t.end()
})

t.test('row 45: the token is cut out wherever it stands, the length excepted', (t) => {
  t.same(respond({ 'x-a': 'aTOKbTOK', 'content-length': '42' }, 'TOK'), ['x-a', 'a[redacted]b[redacted]', 'content-length', '42'])
  t.same(respond({ 'content-length': '42' }, '4'), ['content-length', '42'])
  t.end()
})

t.test('row 39: Vary tells of Origin as well, once', (t) => {
  for (const [vary, shown] of [['Accept', 'Accept, Origin'], ['accept,origin', 'accept,origin'], ['*', '*'], ['X-Origin', 'X-Origin, Origin'], [['A', 'B'], 'A, B, Origin']] as const) {
    t.same(respond({ vary: vary as string }), ['vary', shown])
  }
  t.end()
})

t.test('row 37: a base with a slash at its end is the same place', (t) => {
  const slashed = { base: new URL('http://up.example/mcp/'), path: '/tools/mcp' }
  t.same(responseHeaders({ location: '/mcp/a' }, undefined, slashed, session), ['location', '/tools/mcp/a'])
  t.same(responseHeaders({ location: 'http://up.example/mcp' }, undefined, slashed, session), ['location', '/tools/mcp'])
  t.same(responseHeaders({ location: 'http://up.example:81/mcp' }, undefined, slashed, session), [])
  t.end()
})

t.test('T1: a call whose answer must be read asks for it whole and in no coding, in whatever spelling it was asked otherwise', async (t) => {
  t.same(askingPlainly(['accept', 'a', 'Accept-Encoding', 'gzip', 'accept_encoding', 'br', 'RANGE', 'bytes=0-', 'if-range', 'x', 'x-range', 'y', 'x', 'accept-encoding']),
    ['accept', 'a', 'x-range', 'y', 'x', 'accept-encoding', 'accept-encoding', 'identity'])
})
