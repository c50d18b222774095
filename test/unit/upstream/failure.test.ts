import t from 'tap'
import { failureOf, reasonOf } from '../../../src/upstream/failure.js'
import { challengeError, refusalOf } from '../../../src/upstream/refusal.js'
import { inPieces } from '../../../src/upstream/pieces.js'

const coded = (code: unknown, name = 'Error'): Error => Object.assign(new Error('quotes the request'), { code, name })

t.test('row 55: each failure of an upstream has one code for agents and its own reason for the log', async (t) => {
  const cases = [
    ['UND_ERR_HEADERS_TIMEOUT', 'ERR_UPSTREAM_TIMEOUT'], ['UND_ERR_BODY_TIMEOUT', 'ERR_UPSTREAM_TIMEOUT'],
    ['UND_ERR_HEADERS_OVERFLOW', 'ERR_UPSTREAM_INVALID'], ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'ERR_UPSTREAM_INVALID'],
    ['UND_ERR_DESTROYED', 'ERR_SHUTTING_DOWN'], ['UND_ERR_CLOSED', 'ERR_SHUTTING_DOWN'],
    ['ECONNREFUSED', 'ERR_UPSTREAM_UNREACHABLE'], ['ENOTFOUND', 'ERR_UPSTREAM_UNREACHABLE'], ['UND_ERR_CONNECT_TIMEOUT', 'ERR_UPSTREAM_UNREACHABLE'],
  ] as const
  for (const [code, expected] of cases) {
    const error = failureOf(coded(code))
    t.same([error.code, error.cause], [expected, code])
  }
  t.same(failureOf(coded(undefined, 'HTTPParserError')).code, 'ERR_UPSTREAM_INVALID')
})

t.test('row 55: where a code says what to do, the log says it too', async (t) => {
  const cases = [
    ['DEPTH_ZERO_SELF_SIGNED_CERT', /tls\.ca /], ['SELF_SIGNED_CERT_IN_CHAIN', /tls\.ca /], ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', /tls\.ca /], ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', /tls\.ca /],
    ['CERT_HAS_EXPIRED', /expired: renew it/], ['CERT_NOT_YET_VALID', /clocks/], ['ERR_TLS_CERT_ALTNAME_INVALID', /tls\.server_name/],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', /tls\.cert and tls\.key/], ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', /tls\.cert and tls\.key/], ['ERR_SSL_WRONG_VERSION_NUMBER', /http:/],
    ['UND_ERR_SOCKET', /may have been carried out/], ['ECONNRESET', /may have been carried out/], ['EPIPE', /may have been carried out/],
  ] as const
  for (const [code, what] of cases) {
    const error = failureOf(coded(code))
    t.equal(error.code, 'ERR_UPSTREAM_UNREACHABLE')
    t.match(error.cause, what)
    t.ok(String(error.cause).startsWith(`${code}: `))
  }
  t.match(failureOf(coded(undefined, 'HTTPParserError')).cause, /^HTTPParserError: .*https:/)
  for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'UND_ERR_CONNECT_TIMEOUT']) t.notMatch(failureOf(coded(code)).cause, /carried out/)
})

t.test('row 55: several addresses tried in vain have the reason of the first', async (t) => {
  t.equal(reasonOf(new AggregateError([coded('ECONNREFUSED'), coded('EHOSTUNREACH')])), 'ECONNREFUSED')
  t.equal(reasonOf(new AggregateError([])), 'AggregateError')
})

t.test('O3: a reason is made of codes and names, never of a message', async (t) => {
  t.equal(reasonOf('our own words'), 'our own words')
  t.equal(reasonOf({ message: 'secret' }), 'unknown')
  t.equal(reasonOf(undefined), 'unknown')
  t.equal(reasonOf(coded(42, 'OddError')), 'OddError')
  t.equal(reasonOf(coded(undefined, 'SecretRefError')), 'quotes the request', 'but for those that name places only')
})

t.test('row 27: what a challenge says is read wherever it stands, and only where it is registered', async (t) => {
  const cases: Array<[string | string[] | undefined, string | undefined]> = [
    [undefined, undefined], ['Bearer', undefined], ['Bearer error="invalid_token"', 'invalid_token'],
    ['bearer realm="x", ERROR = insufficient_scope', 'insufficient_scope'], [['Basic realm="a"', 'Bearer error="invalid_token"'], 'invalid_token'],
    ['Bearer error="my_own"', undefined], ['Bearer error="odd", error="invalid_request"', 'invalid_request'],
    ['Bearer error_description="error=none", error="invalid_token"', 'invalid_token'], ['Bearer error=""', undefined],
    ['x'.repeat(5000) + ' error="invalid_token"', undefined],
  ]
  for (const [challenge, expected] of cases) t.equal(challengeError(challenge), expected, String(challenge).slice(0, 60))
})

t.test('row 26: which answers refuse a credential', async (t) => {
  const both = new Set([401, 403])
  t.equal(refusalOf(401, undefined, both), 'stale')
  t.equal(refusalOf(403, 'invalid_token', both), 'stale')
  t.equal(refusalOf(403, undefined, both), 'denied')
  t.equal(refusalOf(403, 'insufficient_scope', both), undefined)
  t.equal(refusalOf(401, 'insufficient_scope', both), undefined)
  t.equal(refusalOf(403, undefined, new Set([401])), undefined)
  t.equal(refusalOf(200, undefined, both), undefined)
})

t.test('row 33: a large body comes in pieces that are its bytes, each time it is asked for', async (t) => {
  const small = Buffer.alloc(64 * 1024)
  t.equal(inPieces(small), small)
  const large = Buffer.from(Array.from({ length: 200_001 }, (_, i) => i & 255))
  const pieces = inPieces(large)
  for (let i = 0; i < 2; i++) t.ok(Buffer.concat([...pieces as Iterable<Buffer>]).equals(large))
  t.ok([...pieces as Iterable<Buffer>].length > 1)
})
