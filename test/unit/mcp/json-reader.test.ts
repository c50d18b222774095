import fc from 'fast-check'
import t from 'tap'
import { JsonError, JsonReader } from '../../../src/mcp/json-reader.js'

/** Whether a text is one JSON value, read by passing over it. */
function reads (text: string | Buffer, lenient = false): boolean {
  const reader = new JsonReader(Buffer.from(text as string), { lenient })
  try {
    reader.skip()
    reader.end()
    return true
  } catch (error) {
    if (error instanceof JsonError) return false
    throw error
  }
}

function parses (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The value, read member by member and element by element. */
function value (text: string, lenient = false): unknown {
  const reader = new JsonReader(Buffer.from(text), { lenient })
  const read = (): unknown => {
    switch (reader.next()) {
      case 0x7b: {
        const members: Array<[string, unknown]> = []
        reader.object((key) => members.push([key, read()]))
        return Object.fromEntries(members)
      }
      case 0x5b: {
        const elements: unknown[] = []
        reader.array(() => elements.push(read()))
        return elements
      }
      case 0x22: return reader.text()
      default: {
        const { from, to } = reader.skip()
        return JSON.parse(text.slice(from, to))
      }
    }
  }
  const found = read()
  reader.end()
  return found
}

const GOOD = ['0', '-0', '1.5', '-1e5', '1E+10', '0.0e-0', '""', '"a"', '"\\u0041\\n\\"\\\\\\/\\b\\f\\r\\t"', '"\u007f\u2028"', 'true', 'false', 'null', '[]', '{}', '[ ]', '{ }',
  '[1,2]', '{"a":1,"b":[{}]}', ' \t\r\n1 ', '[[],[[]],{}]', '{"a":{},"a":{}}', `"${'x'.repeat(200)}"`, `"${'\\"'.repeat(100)}"`, `"${'\\\\'.repeat(100)}"`]
const BAD = ['', ' ', '01', '-', '+1', '.5', '1.', '1e', '1e+', '--1', 'tru', 'TRUE', 'nul', 'nullx', '"', '"a', '"\\x41"', '"\\u00g0"', '"\\u00', '"\\', '[', ']', '[1', '[1,', '[1,]', '[,1]', '[1 2]', '{', '}', '{"a"', '{"a":',
  '{"a":1', '{"a":1,', '{"a":1,}', '{a:1}', '{1:1}', '{"a" 1}', '{"a":1 "b":2}', '{,}', '[}', '{]', '[1}', '1 2', '{}{}', '\ufeff1', '\u00a01', '\v1', '1\f', '// a\n1', '/**/1', "'a'", 'undefined', '"\t"', '"\n"', '[0x1]', '1_0', 'Infinitx', '-I', '-N']

/** TAP output breaks on line separators. */
const shown = (text: string): string => JSON.stringify(text).replace(/[^\x20-\x7e]/g, '?')

t.test('T1: what is JSON is passed over, and nothing else', async (t) => {
  for (const text of GOOD) {
    t.ok(parses(text), `JSON.parse says so too of ${shown(text)}`)
    t.ok(reads(text) && reads(text, true), shown(text))
  }
  for (const text of BAD) {
    t.notOk(parses(text), `JSON.parse says so too of ${shown(text)}`)
    t.notOk(reads(text), shown(text))
  }
  for (const text of ['NaN', '-Infinity', '[Infinity,NaN]', '"\t"', '"\\x"', '\ufeff{}']) {
    t.notOk(reads(text))
    t.ok(reads(text, true), 'what clients read all the same is passed over where that is asked for')
  }
})

t.test('T1: nesting has an end, and megabytes of any shape are read', async (t) => {
  const nested = (depth: number): string => '['.repeat(depth) + '{"a":'.repeat(depth) + '1' + '}'.repeat(depth) + ']'.repeat(depth)
  t.ok(reads(nested(256)))
  t.notOk(reads(nested(257)))
  t.notOk(reads('['.repeat(4 << 20)))
  t.notOk(reads('{"a":'.repeat(1 << 20)))
  t.ok(reads(`[${'[],'.repeat(1 << 20)}0]`))
  t.ok(reads(`{${'"a":null,'.repeat(1 << 19)}"a":1}`))
  t.ok(reads(`"${'\\u0041'.repeat(1 << 19)}"`))
})

t.test('T1: it reads what JSON.parse reads, and refuses what it refuses', async (t) => {
  const text = fc.json({ maxDepth: 4 }).chain((json) => fc.oneof(
    fc.constant(json),
    fc.constant(JSON.stringify(JSON.parse(json), null, '\r\n\t')),
    // One change anywhere.
    fc.tuple(fc.nat(json.length), fc.nat(2), fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '1', '-', 'e', '.', 'u', ' ', '\n', 'n', '\0')).map(([at, cut, put]) => json.slice(0, at) + put + json.slice(at + cut))
  ))
  fc.assert(fc.property(text, (json) => {
    const good = parses(json)
    if (reads(json) !== good) return false
    if (!good) return true
    return [false, true].every((lenient) => JSON.stringify(value(json, lenient)) === JSON.stringify(JSON.parse(json)))
  }), { numRuns: 3_000 })
  t.pass()
})

t.test('T1: strings of any length end where they end', async (t) => {
  const string = fc.array(fc.constantFrom('a', '"', '\\', '\u00e4', '\u{1f600}', '\n', 'b'.repeat(30)), { maxLength: 120 }).map((parts) => parts.join(''))
  fc.assert(fc.property(fc.array(string, { minLength: 1, maxLength: 4 }), (strings) =>
    [false, true].every((lenient) => JSON.stringify(value(JSON.stringify(strings), lenient)) === JSON.stringify(strings))), { numRuns: 1_000 })
  const spoilt = new JsonReader(Buffer.from('"\\x"'), { lenient: true })
  t.throws(() => spoilt.text(), JsonError, 'and one that is none is not read, if passed over')
  t.throws(() => new JsonReader(Buffer.from('1')).text(), JsonError)
})
