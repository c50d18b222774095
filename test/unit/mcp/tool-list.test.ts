import fc from 'fast-check'
import t from 'tap'
import { JsonError } from '../../../src/mcp/json-reader.js'
import { withoutHidden } from '../../../src/mcp/tool-list.js'
import { compilePolicy } from '../../../src/policy/tool-policy.js'
import { listOf, toolOf } from '../../helpers/tool-server.js'

const allows = (tool: string): boolean => !tool.startsWith('admin')
const filtered = (text: string | Buffer): string => withoutHidden(Buffer.from(text as string), allows).toString()

/** The same by JSON.parse, for texts in which no member comes twice. */
function reference (value: unknown): unknown {
  const message = (of: any): any => {
    const result = of?.result
    if (typeof result !== 'object' || result === null || Array.isArray(result) || !Array.isArray(result.tools)) return of
    const tools = result.tools.filter((tool: any) => typeof tool?.name === 'string' && !Array.isArray(tool) && allows(tool.name))
    const scope = 'cacheScope' in result || 'ttlMs' in result ? { cacheScope: 'private' } : {}
    return { ...of, result: { ...result, tools, ...scope } }
  }
  return Array.isArray(value) ? value.map((each) => Array.isArray(each) ? each : message(each)) : message(value)
}

const name = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('add', 'search', 'admin', 'admin_drop', 'ädmin', 'Admin') }, fc.constantFrom(1, null, ['add'], { name: 'add' }))
const tool = fc.oneof({ weight: 8, arbitrary: fc.record({ name, inputSchema: fc.jsonValue({ maxDepth: 2 }), title: fc.string() }, { requiredKeys: [] }) }, fc.jsonValue({ maxDepth: 1 }))
const result = fc.oneof({ weight: 5, arbitrary: fc.record({ tools: fc.array(tool), nextCursor: fc.string(), ttlMs: fc.nat(), cacheScope: fc.constantFrom('public', 'private', 1), _meta: fc.jsonValue({ maxDepth: 1 }) }, { requiredKeys: ['tools'] }) }, fc.jsonValue({ maxDepth: 2 }), fc.record({ tools: fc.jsonValue({ maxDepth: 1 }), cacheScope: fc.constant('public') }))
const message = fc.record({ jsonrpc: fc.constant('2.0'), id: fc.nat(), result, error: fc.jsonValue({ maxDepth: 1 }) }, { requiredKeys: [] })
const texts = fc.tuple(fc.oneof(message, fc.array(fc.oneof(message, fc.jsonValue({ maxDepth: 1 })), { maxLength: 4 })), fc.constantFrom('', ' ', '\t', '\n  ')).map(([value, space]) => JSON.stringify(value, null, space))

t.test('T1: lists are filtered as the reference filters them, and all else is left as it is', async (t) => {
  let changed = 0
  fc.assert(fc.property(texts, (text) => {
    const given = Buffer.from(text)
    const found = withoutHidden(given, allows)
    if (found !== given) changed++
    const expected = reference(JSON.parse(text))
    const same = JSON.stringify(expected) === JSON.stringify(JSON.parse(text))
    fc.pre(!/"__proto__"/.test(text))
    // Members may come in another order, where one was put in.
    const sorted = (value: unknown): string => JSON.stringify(value, (_, of: unknown) => typeof of === 'object' && of !== null && !Array.isArray(of) ? Object.fromEntries(Object.entries(of).sort(([a], [b]) => a < b ? -1 : 1)) : of)
    return sorted(JSON.parse(found.toString())) === sorted(expected) && (!same || found === given)
  }), { numRuns: 3_000 })
  t.ok(changed > 300, `${changed} were changed`)
})

t.test('T1: white space, order, escapes, numbers and duplicates of what stays are left as they are', async (t) => {
  t.equal(filtered('{ "result" : {"x":1.0e0, "tools":[ {"name":"add","n":12345678901234567890} , {"name":"admin"},{"n\\u0061me":"\\u0061dd"} ] ,"nextCursor" :"a\\/b" } }\r\n'),
    '{ "result" : {"x":1.0e0, "tools":[ {"name":"add","n":12345678901234567890},{"n\\u0061me":"\\u0061dd"} ] ,"nextCursor" :"a\\/b" } }\r\n')
  t.equal(filtered('{"result":{"tools":[{"name":"admin"} , {"name":"admin2"}\n,{"name":"add"}]}}'), '{"result":{"tools":[{"name":"add"}]}}')
  t.equal(filtered('{"result":{"tools":[ {"name":"admin"} , {"name":"admin2"} ]}}'), '{"result":{"tools":[  ]}}')
  t.equal(filtered('{"result":{"tools":[{"name":"add"}, {"name":"admin"}, {"name":"add2"}, {"name":"admin"}]}}'), '{"result":{"tools":[{"name":"add"}, {"name":"add2"}]}}')
})

t.test('T1: a list is known in any spelling that some client reads', async (t) => {
  for (const text of [
    '{"RESULT":{"Tools":[{"Name":"admin"}]}}', '{"re\\u0073ult":{"tool\\u0073":[{"n\\u0061me":"\\u0061dmin"}]}}', '{"result":{},"result":{"tools":[{"name":"admin"}]}}', '{"result":{"tools":[{"name":"admin"}]},"result":{}}',
    '{"result":{"tools":[],"toolſ":[{"name":"admin"}]}}', '{"result":{"tools":[{"name":"add","name":"admin"}]}}', '{"result":{"tools":[{"name":"admin","name":"add"}]}}', '{"result":{"tools":[{"name":"add","NAME":"admin"}]}}',
    '[{"id":1},{"result":{"tools":[{"name":"admin"}]}}]', '\ufeff {"result":{"tools":[{"name":"admin"}]}}', '{"x":NaN,"result":{"tools":[{"name":"admin","y":-Infinity}]}}', '{"x":"\t","result":{"tools":[{"name":"admin"}]}}',
  ]) t.notMatch(filtered(text), /dmin/, text.replace(/[^\x20-\x7e]/g, '?'))
  t.equal(filtered('{"result":{"tools":[{"name":"add","name":"add"}]}}'), '{"result":{"tools":[{"name":"add","name":"add"}]}}')
})

t.test('T1: only what a list has is filtered', async (t) => {
  for (const text of [
    '{"params":{"tools":[{"name":"admin"}]}}', '{"result":{"data":{"tools":[{"name":"admin"}]}}}', '{"result":{"tools":{"name":"admin"}}}', '{"result":{"prompts":[{"name":"admin"}],"cacheScope":"public"}}', '{"result":[{"tools":[{"name":"admin"}]}]}',
    '{"tools":[{"name":"admin"}]}', '[[{"result":{"tools":[{"name":"admin"}]}}]]', '"tools"', 'tools', '', ' ',
  ]) {
    const given = Buffer.from(text)
    t.equal(withoutHidden(given, allows), given, text)
  }
})

t.test('T1: what cannot be read is refused where it might hold a list', async (t) => {
  for (const text of ['{"tools":', '{"Tools"}', '{"\\u0074ools":[}', '[{"result":{"tools":[{"name":"admin"}]}}', '{"result":{"tools":[{"name":"admin"}]}},', '{"result":{"tools":[{"name":"a\tb"}]}}', '{"result":{"tools":[{"name":"\\x"}]}}', '{\0', 'x\n {"result":{"tools":[{"name":"admin"}]}}', '{"id":1}\n{"result":{"tools":[{"name":"admin"}]}}']) {
    t.throws(() => filtered(text), JsonError, text.replace(/[^\x20-\x7e]/g, '?'))
  }
  for (const text of ['{', '[DONE]', '{"a":1}x', '[1,]', '\xff', 'tools {', 'a\n{"b":1}']) t.equal(filtered(text), text)
  t.throws(() => withoutHidden(Buffer.from('\ufeff{"a":1}', 'utf16le'), allows), JsonError)
})

t.test('T1: a thousand tools, a megabyte', async (t) => {
  const names = Array.from({ length: 1_000 }, (_, i) => i % 3 === 0 ? `admin_${i}` : `tool_${i}`)
  const tools = names.map((name) => ({ ...toolOf(name), description: 'what it does '.repeat(72) }))
  const text = Buffer.from(listOf([]).replace('[]', JSON.stringify(tools)))
  t.ok(text.length > 1_000_000, `${text.length} bytes`)
  const policy = compilePolicy([{ allow: ['*'], deny: ['admin_*', 'x?y', '*_secret'] }])
  const times: number[] = []
  for (let n = 0; n < 30; n++) {
    const start = performance.now()
    const found = withoutHidden(text, policy?.allows as typeof allows)
    times.push(performance.now() - start)
    if (n === 0) t.strictSame(JSON.parse(found.toString()).result.tools, tools.filter(({ name }: any) => !name.startsWith('admin')))
  }
  t.comment(`${text.length} bytes: first ${times[0]?.toFixed(1)} ms, then ${times.slice(10).sort((a, b) => a - b)[10]?.toFixed(1)} ms (median)`)
})
