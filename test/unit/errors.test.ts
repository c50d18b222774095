import t from 'tap'
import { ERRORS, ValetError, type ErrorCode } from '../../src/errors.js'
import { asValetError, errorBody, replyError } from '../../src/http/reply-error.js'

/** The published contract: clients branch on these, so a line here never changes. */
const CONTRACT: Record<ErrorCode, [status: number, rpc: number]> = {
  ERR_SESSION_REQUIRED: [401, -32001],
  ERR_SESSION_UNKNOWN: [401, -32001],
  ERR_SESSION_EXPIRED: [401, -32001],
  ERR_ISSUER_UNAVAILABLE: [503, -32006],
  ERR_HOST_REFUSED: [403, -32002],
  ERR_ORIGIN_REFUSED: [403, -32002],
  ERR_REQUEST_INVALID: [400, -32600],
  ERR_REQUEST_TIMEOUT: [408, -32017],
  ERR_NOT_FOUND: [404, -32004],
  ERR_SESSION_MISMATCH: [404, -32008],
  ERR_CREDENTIAL_MISSING: [403, -32003],
  ERR_BODY_TOO_LARGE: [413, -32005],
  ERR_BODY_INVALID: [400, -32700],
  ERR_HEADER_MISMATCH: [400, -32020],
  ERR_UPSTREAM_UNAUTHORIZED: [502, -32010],
  ERR_CREDENTIAL_UNAVAILABLE: [503, -32011],
  ERR_CREDENTIAL_REVOKED: [502, -32012],
  ERR_UPSTREAM_UNREACHABLE: [502, -32013],
  ERR_UPSTREAM_TIMEOUT: [504, -32014],
  ERR_UPSTREAM_INVALID: [502, -32015],
  ERR_STATE_UNAVAILABLE: [503, -32018],
  ERR_OVERLOADED: [503, -32019],
  ERR_SHUTTING_DOWN: [503, -32016],
  ERR_INTERNAL: [500, -32603],
}
/** Of JSON-RPC itself, and HeaderMismatch of MCP 2026-07-28. */
const RESERVED = [-32700, -32600, -32603, -32020]

t.test('every code of the contract is there, and no released one has gone', (t) => {
  const missing = Object.keys(CONTRACT).filter((code) => !(code in ERRORS))
  t.same(missing, [])
  t.end()
})

for (const [code, [status, rpc]] of Object.entries(CONTRACT) as Array<[ErrorCode, [number, number]]>) {
  t.test(`${code} is ${status} and ${rpc}`, (t) => {
    const headers: Record<string, string> = {}
    let sent = { status: 0, body: '' }
    const reply = {
      code (status: number) { sent.status = status; return reply },
      header (name: string, value: string) { headers[name] = value; return reply },
      send (body: string) { sent = { ...sent, body } },
    }
    replyError(reply as never, { rpc: { id: 'a"b', method: 'other', tool: undefined }, requestId: 'r1' }, new ValetError(code))
    t.equal(sent.status, status)
    t.same(JSON.parse(sent.body), { jsonrpc: '2.0', id: 'a"b', error: { code: rpc, message: ERRORS[code].message, data: { code, request_id: 'r1' } } })
    t.equal(headers['content-type'], 'application/json')
    t.equal(headers['www-authenticate'], status === 401 ? 'Bearer realm="mcp-valet", error="invalid_token"' : undefined)
    t.notOk('retry-after' in headers)
    t.ok(RESERVED.includes(rpc) || (rpc <= -32000 && rpc >= -32019))
    t.end()
  })
}

t.test('Retry-After is there where the error says so', (t) => {
  const headers: Record<string, string> = {}
  const reply = { code: () => reply, header (name: string, value: string) { headers[name] = value; return reply }, send () {} }
  replyError(reply as never, { rpc: { id: null, method: 'none', tool: undefined }, requestId: 'r1' }, new ValetError('ERR_CREDENTIAL_UNAVAILABLE', { retryAfter: 7 }))
  t.equal(headers['retry-after'], '7')
  t.end()
})

for (const [what, id] of [['null', null], ['0', 0], ['-1', -1], ['1.5', 1.5], ['nothing', ''], ['a line separator', '\u2028\u0000</script>'], ['half a character', '\ud800']] as const) {
  t.test(`an id of ${what} comes back as it was`, (t) => {
    const text = errorBody('ERR_INTERNAL', id, 'r')
    t.equal((JSON.parse(text) as { id: unknown }).id, id)
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    t.notMatch(text, /[\u0000-\u001f\ud800-\udfff]/)
    t.end()
  })
}

for (const [what, error, code] of [
  ['itself', new ValetError('ERR_NOT_FOUND'), 'ERR_NOT_FOUND'],
  ['what caused another', new Error('x', { cause: new ValetError('ERR_UPSTREAM_TIMEOUT') }), 'ERR_UPSTREAM_TIMEOUT'],
  ['any other error', new TypeError('x'), 'ERR_INTERNAL'],
  ['what is no error', 'x', 'ERR_INTERNAL'],
  ['nothing', undefined, 'ERR_INTERNAL'],
] as const) {
  t.test(`${what} becomes ${code}`, (t) => {
    t.equal(asValetError(error).code, code)
    t.end()
  })
}

t.test('an error carries its cause for the log and not in its words', (t) => {
  const error = new ValetError('ERR_INTERNAL', { cause: 'a secret', retryAfter: 3 })
  t.match(error, { name: 'ValetError', code: 'ERR_INTERNAL', status: 500, cause: 'a secret', retryAfter: 3 })
  t.notMatch(error.message, 'secret')
  t.notOk('cause' in new ValetError('ERR_INTERNAL'))
  t.end()
})
