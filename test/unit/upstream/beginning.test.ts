import fc from 'fast-check'
import t from 'tap'
import { Credential } from '../../../src/credential/credential.js'
import { Exchange, type RpcSummary } from '../../../src/exchange.js'
import { Secret } from '../../../src/secret.js'
import { bytesHeld } from '../../helpers/memory.js'
import { Beginning, beginningOf, mayHideRefusal } from '../../../src/upstream/beginning.js'

const PATTERNS = [{ error: { code: -32001 } }]
const REFUSAL = '{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"no"}}'
const RESULT = '{"jsonrpc":"2.0","id":1,"result":{}}'
const LONGEST = 64 * 1024

function exchange (rpc: Partial<RpcSummary> = {}, method = 'POST'): Exchange {
  const made = new Exchange('r', method, 'tools', 0)
  made.credential = new Credential(new Secret('token'), 1, 0, undefined)
  made.rpc = { id: 1, method: 'tools/call', tool: undefined, ...rpc }
  return made
}

function begin (type: string, headers: Record<string, string> = {}, status = 200, call = exchange()): Beginning | undefined {
  return beginningOf({ status, headers: { 'content-type': type, ...headers }, message: '' }, call, PATTERNS)
}

/** What is known after these pieces: nothing yet, or which pattern fits. */
function after (type: string, pieces: readonly string[], end = false): 'nothing' | number | undefined {
  const beginning = begin(type) as Beginning
  const known = pieces.map((piece) => beginning.write(Buffer.from(piece)))
  if (end) beginning.end()
  t.same(Buffer.concat(beginning.pieces).toString(), pieces.join(''), 'nothing is lost')
  return end || known.at(-1) === true ? beginning.fitting : 'nothing'
}

t.test('O1: where no answer is looked into, nobody asks what a call says before it is sent', async (t) => {
  const call = exchange()
  call.readRpcWhenAsked(() => { throw new Error('read too soon') })
  t.notOk(mayHideRefusal(call, []))
  call.credential = undefined
  t.notOk(mayHideRefusal(call, PATTERNS))
})

t.test('F2: of which calls an answer is looked into', async (t) => {
  t.ok(mayHideRefusal(exchange(), PATTERNS))
  t.ok(mayHideRefusal(exchange({ id: '', method: 'other' }), PATTERNS))
  t.notOk(mayHideRefusal(exchange(), []), 'none is unless the config asks for it')
  t.notOk(mayHideRefusal(exchange({ id: null, method: 'batch' }), PATTERNS), 'a part of it may have been carried out')
  t.notOk(mayHideRefusal(exchange({ id: null, method: 'notifications/cancelled' }), PATTERNS))
  t.notOk(mayHideRefusal(exchange({ method: 'response' }), PATTERNS))
  t.notOk(mayHideRefusal(exchange({}, 'GET'), PATTERNS))
  const without = exchange()
  without.credential = undefined
  t.notOk(mayHideRefusal(without, PATTERNS), 'there is nothing to renew')
})

t.test('F2: which answers are looked into', async (t) => {
  for (const type of ['application/json', 'application/json; charset=utf-8', 'text/event-stream', 'Text/Event-Stream;charset=UTF-8']) t.ok(begin(type), type)
  t.ok(begin('application/json', { 'content-length': String(LONGEST), 'content-encoding': 'identity' }))
  for (const type of ['', 'text/html', 'text/plain', 'application/json; charset=utf-16']) t.notOk(begin(type), type)
  t.notOk(begin('application/json', { 'content-encoding': 'gzip' }))
  t.notOk(begin('application/json', { 'content-length': String(LONGEST + 1) }))
  t.notOk(begin('application/json', { 'content-range': 'bytes 0-1/2' }))
  for (const status of [201, 202, 206, 400, 404, 500]) t.notOk(begin('application/json', {}, status), String(status))
})

t.test('F2: JSON is read whole', async (t) => {
  t.equal(after('application/json', ['', REFUSAL]), 'nothing')
  t.equal(after('application/json', [REFUSAL.slice(0, 9), REFUSAL.slice(9)], true), 0)
  t.equal(after('application/json', [RESULT], true), undefined)
  t.equal(after('application/json', [], true), undefined)
  t.equal(after('application/json', ['x'.repeat(LONGEST)]), 'nothing')
  t.equal(after('application/json', [REFUSAL, ' '.repeat(LONGEST)]), undefined, 'and no longer than a refusal is')
})

t.test('F2: of a stream the first event that says something decides', async (t) => {
  const sse = (pieces: readonly string[], end = false) => after('text/event-stream', pieces, end)
  t.equal(sse([`data: ${REFUSAL}\n\n`]), 0)
  t.equal(sse([`event: message\r\nid: 1\r\ndata: ${REFUSAL.slice(0, -1)}\r\ndata: }\r\n\r\n`]), 0)
  t.equal(sse([': hello\n\n', 'retry: 10\n\n', 'id: 0\ndata:\n\n', 'id: 1\ndata: \n\n']), 'nothing')
  t.equal(sse([': hello\n\nretry: 10\n\nid: 0\ndata: \n\n', `data: ${REFUSAL}`, '\n', '\n']), 0)
  t.equal(sse(['data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n']), undefined)
  t.equal(sse([`data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\ndata: ${REFUSAL}\n\n`]), undefined, 'the call had been taken')
  t.equal(sse([`data: ${RESULT}\n\n`]), undefined)
  t.equal(sse(['data: ping\n\n']), undefined)
  t.equal(sse(['id: 1\ndata:\n\n'], true), undefined)
  t.equal(sse([`data: ${REFUSAL}`], true), 0, 'some clients read an event that has no end')
  t.equal(sse([':\n'.repeat(LONGEST / 2), ':\n']), undefined)
  t.equal(sse([`data: ${'x'.repeat(LONGEST)}`]), undefined)
  t.equal(sse([`data: ${'x'.repeat(LONGEST * 2)}\n\ndata: ${REFUSAL}\n\n`]), undefined)
})

t.test('F2: wherever an answer is cut in pieces, the same is found and no byte is lost', async (t) => {
  const events = fc.array(fc.constantFrom(': c\n\n', '\n', 'retry: 5\r\n\r\n', 'id: 7\ndata:\n\n', 'data: \r\r', 'event: message\n'), { maxLength: 5 })
  const first = fc.constantFrom(REFUSAL, RESULT, '{"method":"x"}', 'é😀')
  const cuts = fc.array(fc.nat(400), { maxLength: 8 })
  fc.assert(fc.property(events, first, cuts, (before, data, places) => {
    const text = Buffer.from(`\n${before.join('')}\n\ndata: ${data}\n\n`)
    const at = [...new Set([0, ...places.map((place) => place % text.length), text.length])].sort((a, b) => a - b)
    const beginning = begin('text/event-stream') as Beginning
    const known = at.slice(1).map((to, i) => beginning.write(text.subarray(at[i], to)))
    t.same(Buffer.concat(beginning.pieces), text)
    return known.at(-1) === true && beginning.fitting === (data === REFUSAL ? 0 : undefined)
  }))
})

t.test('F2: a fault of ours is none of the stream', async (t) => {
  const beginning = new Beginning(true, () => { throw new TypeError('a fault') })
  t.throws(() => beginning.write(Buffer.from('data: x\n\n')), TypeError)
})

t.test('row 43: a beginning that comes byte by byte takes no more room than its bytes, a few times over', async (t) => {
  const beginning = begin('application/json') as Beginning
  const before = bytesHeld()
  for (let nth = 0; nth < LONGEST; nth++) beginning.write(Buffer.from(' '))
  const held = bytesHeld() - before
  t.ok(held < 10 * LONGEST, `${held} bytes are held for ${LONGEST}`)
  t.equal(Buffer.concat(beginning.pieces).length, LONGEST)
})
