import fc from 'fast-check'
import t from 'tap'
import { EventStream, TooLong } from '../../../src/mcp/event-stream.js'
import { listOf } from '../../helpers/tool-server.js'
import { withoutHidden } from '../../../src/mcp/tool-list.js'

const NAMES = ['admin', 'add', 'admin_2']
const rewrite = (data: Buffer): Buffer => withoutHidden(data, (tool) => !tool.startsWith('admin'))

/** The same, and for what cannot be read a word that says so: several texts in one event are none. */
function tame (data: Buffer): Buffer {
  try {
    return rewrite(data)
  } catch {
    return Buffer.from('unreadable')
  }
}

/** What leaves of a stream that comes in these pieces. */
function sent (pieces: ReadonlyArray<string | Buffer>, options: { limit?: number, preceded?: boolean, by?: (data: Buffer) => Buffer } = {}): string {
  const stream = new EventStream(options.by ?? rewrite, options.limit ?? 1 << 20, options.preceded)
  const out = pieces.map((piece) => Buffer.from(stream.write(Buffer.from(piece as string))))
  return Buffer.concat([...out, stream.end()]).toString()
}

interface Event { readonly data: string, readonly type: string, readonly id: string, readonly retry: string }

/** Events as the specification has them (WHATWG HTML, §9.2.6), by splitting the whole text. */
function eventsIn (text: string): Event[] {
  const found: Event[] = []
  let id = ''
  let [data, type, retry]: [string[], string, string] = [[], '', '']
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/)
  lines.pop()
  for (const line of lines) {
    if (line === '') {
      if (data.length > 0) found.push({ data: data.join('\n'), type, id, retry })
      ;[data, type, retry] = [[], '', '']
      continue
    }
    const [, field = '', value = ''] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? []
    if (field === 'data') data.push(value)
    else if (field === 'event') type = value
    else if (field === 'id') id = value
    else if (field === 'retry') retry = value
  }
  return found
}

const end = fc.constantFrom('\n', '\r', '\r\n')
const list = fc.array(fc.constantFrom(...NAMES, 'search'), { maxLength: 4 }).map((names) => listOf(names))
const payload = fc.oneof(list, list.map((text) => JSON.stringify(JSON.parse(text), null, 1)), fc.constantFrom('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}', '', ' ', 'plain', '[DONE]', '{"id":1,"result":{}}'))
/** A field's lines without their ends. */
const field = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(payload, fc.constantFrom('data:', 'data: ')).map(([text, prefix]) => text.split('\n').map((line) => prefix + line)) },
  fc.constantFrom([': comment'], [':'], ['id: 7'], ['id'], ['retry: 100'], ['event: message'], ['event:endpoint'], ['data'], ['datax: {"result":{"tools":[{"name":"admin"}]}}'], ['Data: 1'], [' data: 1'], ['dat'])
)
const event = fc.tuple(fc.array(field, { maxLength: 4 }), end, end).map(([fields, line, blank]) => fields.flat().map((text) => text + line).join('') + blank)
const stream = fc.tuple(fc.constantFrom('', '\ufeff'), fc.array(event, { maxLength: 6 }), fc.oneof({ weight: 2, arbitrary: fc.constant('') }, fc.tuple(field, end).map(([lines, by]) => lines.join(by)))).map((parts) => parts.flat().join(''))

t.test('T1: a stream of any shape, in pieces of any size, leaves with its lists filtered and all else as it came', async (t) => {
  let lists = 0
  fc.assert(fc.property(stream, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (text, sizes) => {
    const bytes = Buffer.from(text)
    const pieces: Buffer[] = []
    for (let at = 0, n = 0; at < bytes.length; n++) {
      const size = sizes[n % sizes.length] as number
      pieces.push(bytes.subarray(at, at + size))
      at += size
    }
    const out = sent(pieces, { by: tame })
    if (out !== sent([bytes], { by: tame })) return false
    // The last event may be without an end, and is as good as none.
    if (/"name":\s?"admin/.test(out.replace(/^\ufeff?datax:.*$/gm, ''))) return false
    const [before, after] = [eventsIn(text), eventsIn(out)]
    const expected = before.map((event) => ({ ...event, data: tame(Buffer.from(event.data)).toString() }))
    if (before.some(({ data }) => data.includes('admin'))) lists++
    else if (!text.includes('admin') && !out.includes('unreadable') && out !== text) return false
    return JSON.stringify(after) === JSON.stringify(expected)
  }), { numRuns: 3_000 })
  t.ok(lists > 300, `${lists} had a list that must be changed`)
})

t.test('T1: an event leaves with its last byte, and what is no data with its line', async (t) => {
  const stream = new EventStream(rewrite, 1_000)
  const steps: Array<[string, string]> = [
    ['\ufeff', '\ufeff'], [': a comment', ''], ['\n', ': a comment\n'], ['id: 1\nret', 'id: 1\n'], ['ry: 5\r', 'retry: 5\r'], ['\n', '\n'], ['data: {"id"', ''], [':1}\n', ''], ['\n', 'data: {"id":1}\n\n'],
    ['data: x\r\r', 'data: x\r\r'], ['\ndata: y\r\n\r', '\ndata: y\r\n\r'], ['\n', '\n'], ['data: {"id":2}\n: late\n', ''], ['id: 3\n', ''], ['\nid: 4\n', 'data: {"id":2}\n: late\nid: 3\n\nid: 4\n'], [`data: ${listOf(NAMES)}\n\ndata: z`, `data: ${listOf(['add'])}\n\n`],
  ]
  for (const [given, expected] of steps) t.equal(stream.write(Buffer.from(given)).toString(), expected)
  t.equal(stream.end().toString(), 'data: z')
})

t.test('T1: nothing is copied where nothing must be changed', async (t) => {
  const chunk = Buffer.from('id: 1\ndata: {"id":1}\n\ndata: 2\n\n')
  const out = new EventStream(rewrite, 1_000).write(chunk)
  t.equal(out.buffer, chunk.buffer)
  t.equal(out.byteOffset, chunk.byteOffset)
  t.equal(out.length, chunk.length)
})

t.test('T1: what has left is not touched by what comes later', async (t) => {
  const stream = new EventStream(rewrite, 10_000)
  stream.write(Buffer.from('data: {"id":'))
  const first = stream.write(Buffer.from('1}\n\ndata: {"id":'))
  const copy = first.toString()
  for (let n = 0; n < 50; n++) stream.write(Buffer.from('222222'))
  t.equal(first.toString(), copy)
  t.equal(copy, 'data: {"id":1}\n\n')
})

t.test('T1: data in several lines is put back with its own line ends and fields around it', async (t) => {
  const pretty = JSON.stringify(JSON.parse(listOf(['add', 'admin'])), null, 2)
  const kept = withoutHidden(Buffer.from(pretty), (tool) => tool === 'add').toString()
  const framed = (text: string): string => `id: 1\r\n${text.split('\n').map((line, i) => `${i === 0 ? 'data:' : 'data: '}${line}`).join('\r\n')}\r\nevent: message\r\n\r\n`
  t.equal(sent([framed(pretty)]), framed(kept))
  const [head, tail] = [listOf(['admin']).slice(0, 17), listOf(['admin']).slice(17)]
  t.equal(sent([`data: ${head}\n: between\ndata: ${tail}\nid: 2\n\n`]), `data: ${head}\ndata: ${listOf([]).slice(17)}\n: between\nid: 2\n\n`)
  t.equal(sent([`data\ndata:${listOf(['admin'])}\n\n`]), `data: \ndata: ${listOf([])}\n\n`)
  t.equal(sent([`data: ${head}\ndata: ${tail}`]), `data: ${head}\ndata: ${listOf([]).slice(17)}`)
  t.equal(sent([`data: ${head}\rdata: ${tail}\r\n\n`]), `data: ${head}\rdata: ${listOf([]).slice(17)}\r\n\n`, 'the end of the line that goes is the one that stays')
})

t.test('T1: a byte order mark is one at the beginning alone', async (t) => {
  for (const pieces of [['\ufeffdata: 1\n\n'], [Buffer.from([0xef]), Buffer.from([0xbb]), Buffer.from([0xbf]), 'data: 1\n\n']]) {
    t.equal(sent(pieces), '\ufeffdata: 1\n\n')
    t.equal(sent(pieces, { preceded: true }), 'data: 1\n\n', 'and none behind other events')
  }
  t.equal(sent(['data: 1\n\n'], { preceded: true }), 'data: 1\n\n')
  t.equal(sent([Buffer.from([0xef, 0xbb])]), '\ufffd')
  t.equal(sent([Buffer.from([0xef, 0xbb]), 'x\n'], { preceded: true }), '\ufffdx\n')
})

t.test('row 43: what is kept has a bound', async (t) => {
  const over = (pieces: string[], limit = 100): void => { t.throws(() => sent(pieces, { limit }), TooLong) }
  over(['data: ' + 'x'.repeat(100)])
  over([': ' + 'x'.repeat(100)])
  over(['data: x\n', ...Array.from({ length: 20 }, () => ': more\n')])
  t.equal(sent([': x\n'.repeat(100), 'data: x\n\n'.repeat(100)], { limit: 100 }).length, 1_300, 'but a stream of any length has not')
  over(['data:\n'.repeat(100_001) + '\n'], 1 << 20)
  t.equal(sent(['data:\n'.repeat(99_999) + '\n'], { limit: 1 << 20 }).length, 600_000 - 6 + 1)
  const pieces = Array.from({ length: 20_000 }, () => 'data: {"a":"' + 'x'.repeat(80) + '"}\n')
  t.equal(sent([...pieces, '\n'], { limit: 4 << 20, by: (data) => data }).length, pieces.join('').length + 1)
})

t.test('T1: at the end, what cannot be rewritten is left out', async (t) => {
  t.equal(sent(['data: 1\n\n', 'data: {"tools":']), 'data: 1\n\n')
  t.equal(sent(['data: 1\n\nid: 5\n', 'data: {"tools":\n: x']), 'data: 1\n\nid: 5\n')
  t.equal(sent(['data: 1\n\nid: 5']), 'data: 1\n\nid: 5')
  t.equal(sent([]), '')
  t.throws(() => sent(['data: {"tools":\n\n']), 'and before the end it is an error')
})
