import fc from 'fast-check'
import t from 'tap'
import { fits, fittingPattern } from '../../../src/mcp/answer-pattern.js'

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const failed = (error: object, id: unknown = 1): Buffer => bytes({ jsonrpc: '2.0', id, error: { message: 'no', ...error } })
const PATTERNS = [{ error: { code: -32001 } }, { error: { data: { reason: 'expired' } } }, { result: { isError: true, structuredContent: { code: 'EXPIRED' } } }]
const found = (text: Buffer, id: string | number = 1): number | undefined => fittingPattern(text, PATTERNS, id)

t.test('F2: the first pattern that an answer fits is found', async (t) => {
  t.equal(found(failed({ code: -32001 })), 0)
  t.equal(found(failed({ code: -32001, data: { reason: 'expired' } })), 0)
  t.equal(found(failed({ code: 1, data: { reason: 'expired', more: [1] } })), 1)
  t.equal(found(bytes({ id: 1, result: { isError: true, content: [], structuredContent: { code: 'EXPIRED', more: 1 } } })), 2)
  t.equal(found(Buffer.concat([Buffer.from('\ufeff '), failed({ code: -32001 }, 'a')]), 'a'), 0)
})

t.test('F2: what is otherwise fits nothing, whatever its words', async (t) => {
  t.equal(found(failed({ code: -32002, message: 'code -32001: token expired', data: 'expired' })), undefined)
  t.equal(found(failed({ code: '-32001' })), undefined)
  t.equal(found(failed({ data: { reason: ['expired'] } })), undefined)
  for (const result of [{ structuredContent: { code: 'EXPIRED' } }, { isError: 1, structuredContent: { code: 'EXPIRED' } }, { isError: true, content: [{ type: 'text', text: '{"code":"EXPIRED"}' }] }, null, 'EXPIRED']) {
    t.equal(found(bytes({ id: 1, result })), undefined, JSON.stringify(result))
  }
  for (const text of ['', 'null', '1', '[]', '{', '{}', 'no JSON', '"code"', JSON.stringify([{ id: 1, error: { code: -32001 } }])]) t.equal(found(Buffer.from(text)), undefined, text)
})

t.test('F2: only the answer to the call counts, and an error that could not tell whose it is', async (t) => {
  t.equal(found(failed({ code: -32001 }, null)), 0)
  t.equal(found(bytes({ error: { code: -32001 } })), 0)
  for (const id of ['1', 2, 0, false, [1]]) t.equal(found(failed({ code: -32001 }, id)), undefined, JSON.stringify(id))
  t.equal(found(bytes({ id: null, result: { isError: true, structuredContent: { code: 'EXPIRED' } } })), undefined)
})

t.test('F2: names that objects have by birth are members like any other', async (t) => {
  t.notOk(fits({ error: { constructor: {} } }, { error: {} }))
  t.notOk(fits(JSON.parse('{"__proto__":{"a":1}}'), { a: 1 }))
  t.notOk(fits(JSON.parse('{"__proto__":{"__proto__":null}}'), {}))
  t.ok(fits(JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"__proto__":{"a":1,"b":2}}')))
})

t.test('row 43: an answer that is nested too deep, or has too many values, fits nothing', async (t) => {
  const deep = `{"id":1,"error":{"code":-32001,"data":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`
  t.equal(found(Buffer.from(deep)), undefined)
})

t.test('F2: a value fits itself, more members fit as well, and another scalar does not', async (t) => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const again = JSON.parse(JSON.stringify(value)) as unknown
    return fits(value, again) || JSON.stringify(value).includes('-0')
  }))
  fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.string(), fc.jsonValue(), (map, key, more) => {
    const pattern = JSON.parse(JSON.stringify(map)) as Record<string, unknown>
    return Object.hasOwn(pattern, key) || fits(pattern, { ...pattern, [key]: more })
  }))
  fc.assert(fc.property(fc.array(fc.jsonValue()), fc.jsonValue(), (list, more) => !fits(list, [...list, more]) && !fits([...list, more], list)))
  for (const [pattern, value] of [[1, '1'], [null, undefined], [true, 1], ['a', 'A'], [[], {}], [{ a: 1 }, []], [[1], { 0: 1, length: 1 }], [{ a: null }, {}]] as const) t.notOk(fits(pattern, value))
})
