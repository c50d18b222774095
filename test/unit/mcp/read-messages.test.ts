import fc from 'fast-check'
import t from 'tap'
import { JsonError } from '../../../src/mcp/json-reader.js'
import { judgeCalls } from '../../../src/mcp/judge-calls.js'
import { summarize, summaryOf } from '../../../src/mcp/message.js'
import { readMessages } from '../../../src/mcp/read-messages.js'
import { fold, parseTree, possibleCalls, type Tree } from '../../helpers/json-models.js'

const allows = (tool: string): boolean => tool === 'search' || tool === 'add'

type Verdict = 'refused' | { readonly passed: unknown, readonly denied: readonly unknown[] }

/** What becomes of a body. */
function judge (body: Buffer): Verdict {
  try {
    const { body: passed, denied } = judgeCalls(body, readMessages(body), allows)
    return { passed: passed === undefined ? undefined : JSON.parse(passed.toString()), denied: denied.map(({ id, tool }) => ({ id: id === undefined ? undefined : JSON.parse(id), tool })) }
  } catch (error) {
    if (error instanceof JsonError) return 'refused'
    throw error
  }
}

/**
 * The same by the book: a text in UTF-8, parsed to a tree that forgets nothing, of which each level that matters is looked
 * at member by member.
 */
function reference (body: Buffer): Verdict {
  let tree: Tree
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
    tree = parseTree(text)
  } catch {
    return 'refused'
  }
  const messages = Array.isArray(tree) ? tree : [tree]
  const clear = (of: Tree, names: readonly string[]): boolean => {
    if (typeof of !== 'object' || of === null || Array.isArray(of)) return false
    const counts = new Map<string, number>()
    for (const [key] of of.members) {
      const alike = names.find((name) => name === fold(key))
      if (key.replace(/[\s\p{C}]/gu, '') === '__proto__' || (alike !== undefined && alike !== key)) return false
      if (alike !== undefined) counts.set(alike, (counts.get(alike) ?? 0) + 1)
    }
    return [...counts.values()].every((count) => count === 1)
  }
  const member = (of: Tree | undefined, name: string): Tree | undefined =>
    typeof of === 'object' && of !== null && !Array.isArray(of) ? of.members.find(([key]) => key === name)?.[1] : undefined
  const calls = (message: Tree): boolean => {
    const method = member(message, 'method')
    return typeof method === 'string' && fold(method) === 'tools/call'
  }
  if (!messages.every((message) => clear(message, ['jsonrpc', 'id', 'method', 'params', 'result', 'error']))) return 'refused'
  for (const message of messages.filter(calls)) {
    const params = member(message, 'params')
    if (typeof params === 'object' && params !== null && !Array.isArray(params) && !clear(params, ['name'])) return 'refused'
  }
  const name = (message: Tree): string | undefined => {
    const found = member(member(message, 'params'), 'name')
    return typeof found === 'string' ? found : undefined
  }
  const isDenied = (message: Tree): boolean => calls(message) && !allows(name(message) ?? '')
  const parsed = [JSON.parse(text)].flat() as Array<{ id?: unknown }>
  const denied = parsed.flatMap(({ id }, i) => isDenied(messages[i] as Tree) ? [{ id, tool: name(messages[i] as Tree) }] : [])
  const passed = parsed.filter((_, i) => !isDenied(messages[i] as Tree))
  return { passed: passed.length === 0 && denied.length > 0 ? undefined : Array.isArray(tree) ? passed : passed[0], denied }
}

/** A string as JSON text, its characters escaped or not. */
const spelled = (text: string): fc.Arbitrary<string> => fc.array(fc.nat(9), { minLength: text.length, maxLength: text.length }).map((dice) =>
  `"${[...Array(text.length).keys()].map((i) => {
    const unit = text.charCodeAt(i)
    if (dice[i] === 0 || unit < 0x20 || text[i] === '"' || text[i] === '\\' || (unit >= 0xd800 && unit < 0xe000)) return `\\u${unit.toString(16).padStart(4, '0')}`
    return text[i] === '/' && dice[i] === 1 ? '\\/' : text[i]
  }).join('')}"`)
const oneOf = (...texts: string[]): fc.Arbitrary<string> => fc.constantFrom(...texts).chain(spelled)
const space = fc.oneof({ weight: 12, arbitrary: fc.constant('') }, { weight: 3, arbitrary: fc.constantFrom(' ', '\n', '\r\n', '\t') }, fc.constantFrom('\u00a0', '\v', '\ufeff', '\0', '/**/'))
const method = fc.oneof({ weight: 8, arbitrary: oneOf('tools/call') }, oneOf('tools/list', 'ping', 'Tools/Call', 'toolſ/call', ' tools/call\n', 'tools/call\0', 'tools\0/call', 'tools/calls'), fc.constantFrom('null', '1', '["tools/call"]', '{"method":"tools/call"}'))
const tool = fc.oneof({ weight: 8, arbitrary: oneOf('search', 'add', 'admin') }, oneOf('Search', 'search\0', ' add', 'add\ud800', 'ädd', ''), fc.constantFrom('null', '1', '["search"]', '{"name":"search"}'))
const scalar = fc.oneof(fc.constantFrom('1', '-0', '1e999', '12345678901234567890', 'true', 'null', '[]', '{}', '[1,{"name":"admin","name":2}]', '{"method":"tools/call","params":{"name":"admin"}}'), fc.constantFrom('01', 'NaN', '.5', "'a'", '+1', 'tru', '"\\x"', '"\n"'), oneOf('a', 'tools/call', '"'))
const rare = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> => fc.oneof({ weight: 14, arbitrary: usual }, odd)

const objectOf = (members: fc.Arbitrary<Array<readonly [string, string]>>): fc.Arbitrary<string> => fc.tuple(members, fc.array(space, { minLength: 40, maxLength: 40 })).map(([list, spaces]) => {
  let i = 0
  const gap = (): string => spaces[i++ % spaces.length] as string
  return `{${gap()}${list.map(([key, value]) => `${gap()}${key}${gap()}:${gap()}${value}${gap()}`).join(',')}}`
})
const params = rare(objectOf(fc.tuple(
  fc.array(fc.tuple(oneOf('arguments', '_meta', 'nam', 'x'), scalar), { maxLength: 2 }),
  fc.array(fc.tuple(rare(oneOf('name'), oneOf('Name', 'name\0', 'ｎame', '__proto__')), tool), { minLength: 0, maxLength: 2 }).map((names) => names.length === 2 && names[0]?.[1].length !== names[1]?.[1].length ? names.slice(1) : names)
).map((parts) => parts.flat())), fc.constantFrom('[]', '["admin"]', 'null', '"admin"'))
const message = rare(objectOf(fc.tuple(
  fc.constant(['"jsonrpc"', '"2.0"'] as const),
  fc.tuple(rare(oneOf('id'), oneOf('ID', 'Id')), scalar),
  fc.tuple(rare(oneOf('method'), oneOf('METHOD', 'methods')), method),
  fc.tuple(rare(oneOf('params'), oneOf('Params', 'paramſ', '__proto__')), params)
).chain((members) => rare<ReadonlyArray<readonly [string, string]>>(fc.shuffledSubarray([...members], { minLength: 2 }), fc.tuple(method, params).map(([other, more]) => [...members, ['"method"', other], ['"params"', more]] as const))) as fc.Arbitrary<Array<readonly [string, string]>>), scalar)
/** As an agent would send it. */
const plain = fc.tuple(fc.constantFrom('1', '"a"', undefined), fc.constantFrom('tools/call', 'tools/list'), fc.constantFrom('search', 'add', 'admin', 'Search'), fc.constantFrom('', ' ', '\n'))
  .map(([id, what, name, gap]) => `${gap}{${id === undefined ? '' : `"id":${id},`}"method":"${what}",${gap}"params":{"name":"${name}"${gap}}}${gap}`)
const text = rare(
  fc.oneof({ weight: 3, arbitrary: message }, fc.array(rare(message, fc.array(message, { maxLength: 1 }).map((nested) => `[${nested.join()}]`)), { maxLength: 4 }).map((list) => `[${list.join(' , ')}]`),
    fc.array(plain, { minLength: 1, maxLength: 6 }).map((list) => `[${list.join()}]`)),
  fc.tuple(message, fc.constantFrom('', '\n', ' ', ','), message).map((parts) => parts.join(''))
)
const bodies = rare(text.map((json) => Buffer.from(json)), fc.oneof(
  text.map((json) => Buffer.from(`\ufeff${json}`)),
  text.map((json) => Buffer.from(json, 'utf16le')),
  text.map((json) => Buffer.from(`\ufeff${json}`, 'utf16le').swap16()),
  text.map((json) => Buffer.from(json, 'latin1')),
  text.map((json) => Buffer.from(json.replaceAll('n', '\xc1\xae'), 'latin1')),
  fc.tuple(text, fc.nat(), fc.nat(255)).map(([json, at, byte]) => {
    const bytes = Buffer.from(json)
    bytes[at % Math.max(1, bytes.length)] = byte
    return bytes
  }),
  fc.tuple(text, fc.nat(), fc.nat(4)).map(([json, at, cut]) => Buffer.from(json.slice(0, at % (json.length + 1)) + json.slice(at % (json.length + 1) + cut)))
))

t.test('T1: bodies of every kind are judged as the reference judges them', async (t) => {
  const count = { refused: 0, passed: 0, denied: 0, parted: 0 }
  fc.assert(fc.property(bodies, (body) => {
    const verdict = judge(body)
    const expected = reference(body)
    if (verdict === 'refused') count.refused++
    else if (verdict.denied.length === 0) count.passed++
    else if (verdict.passed === undefined) count.denied++
    else count.parted++
    return JSON.stringify(verdict) === JSON.stringify(expected)
  }), { numRuns: 6_000 })
  for (const [kind, times] of Object.entries(count)) t.ok(times > 50, `${times} were ${kind}`)
})

t.test('T1: no server of whatever habits could call another tool by what passes', async (t) => {
  let calls = 0
  fc.assert(fc.property(bodies, (body) => {
    let passed: Buffer | undefined
    try {
      passed = judgeCalls(body, readMessages(body), allows).body
    } catch (error) {
      if (!(error instanceof JsonError)) throw error
    }
    const possible = passed === undefined ? [] : [...possibleCalls(passed)]
    calls += possible.length
    return possible.every(allows)
  }), { numRuns: 3_000 })
  t.ok(calls > 100, `${calls} calls of allowed tools passed`)
})

t.test('T1: the models of careless servers do find such calls', async (t) => {
  const hidden: Array<string | Buffer> = [
    '{"method":"ping","method":"tools/call","params":{"name":"admin"}}', '{"method":"tools/call","method":"ping","params":{"name":"admin"}}', '{"METHOD":"tools/call","Params":{"n\\u0061me":"admin"}}',
    '{"method":"tools/call","params":{"name":"add","name":"admin"}}', '{"__proto__":{"method":"tools/call","params":{"name":"admin"}}}', '{"method":"tools/call","params":["admin"]}',
    '[[{"method":"tools/call","params":{"name":"admin"}}]]', '{"id":1}\n{"method":"tools/call","params":{"name":"admin"}}', '{"id":1}{"method":"tools/call","params":{"name":"admin"}}',
    '\ufeff{"method":"tools/call","params":{"name":"admin"}}', "{'method':'tools/call',/**/'params':{'name':'admin',},}", Buffer.from('{"method":"tools/call","params":{"name":"admin"}}', 'utf16le'),
  ]
  for (const body of hidden) {
    t.ok(possibleCalls(Buffer.from(body as string)).has('admin'), String(body).slice(0, 60).replace(/[^\x20-\x7e]/g, '?'))
    t.notMatch(JSON.stringify(judge(Buffer.from(body as string))), /"passed":[[{].*admin/s)
  }
})

t.test('O4: a body that was read is summed up as one that was parsed', async (t) => {
  const known = [
    '{"id":1,"method":"tools/call","params":{"name":"add"}}', '{"id":"a","method":"ping"}', '{"method":"x"}', '{"id":1,"result":{}}', '{"id":1,"error":{}}', '{"id":1}', '[]', '[{"id":1,"method":"ping"}]',
    `{"id":"${'x'.repeat(300)}","method":"tools/call","params":{"name":"${'y'.repeat(300)}"}}`, '{"id":1e999,"method":1}', '{"id":{},"method":"tools/list"}', '{"id":null,"method":"tools/call","params":null}',
  ]
  for (const body of known) t.strictSame(summaryOf(readMessages(Buffer.from(body))), summarize(Buffer.from(body)), body.slice(0, 50))
})

t.test('row 43: levels that are compared member by member have a bound', async (t) => {
  const members = (count: number): string => `{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join()}}`
  t.ok(readMessages(Buffer.from(members(1_000))))
  t.throws(() => readMessages(Buffer.from(members(1_001))), JsonError)
  t.throws(() => readMessages(Buffer.from(`{"method":"tools/call","params":${members(1_001)}}`)), JsonError)
  t.ok(readMessages(Buffer.from(`{"method":"tools/call","params":{"name":"a","arguments":${members(50_000)}}}`)))
})
