import fc from 'fast-check'
import t from 'tap'
import { summarize } from '../../../src/mcp/message.js'

const read = (body: unknown): ReturnType<typeof summarize> => summarize(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

t.test('row 53: a method that MCP does not know becomes `other`, so that a label stays bounded', async (t) => {
  t.equal(read({ method: 'tools/list' }).method, 'tools/list')
  for (const method of ['tools/lists', 'constructor', '', 'x'.repeat(1e5), 1, null, {}]) t.equal(read({ method }).method, 'other')
})

t.test('P1: what a body is, by what it holds', async (t) => {
  t.same(summarize(undefined), { id: null, method: 'none', tool: undefined })
  t.same(summarize(Buffer.alloc(0)), { id: null, method: 'none', tool: undefined })
  for (const body of ['{', '"text"', '1', 'null', 'true', '\u00ff']) t.match(read(body), { id: null, method: 'other' })
  t.match(read([{ id: 1, method: 'ping' }]), { id: null, method: 'batch' })
  t.match(read({ id: 1, result: {} }), { id: 1, method: 'response' })
  t.match(read({ id: 1, error: {} }), { id: 1, method: 'response' })
  t.match(read({ id: 1 }), { id: 1, method: 'other' })
})

t.test('P1: an id is echoed as JSON-RPC allows it, and never one that is a burden', async (t) => {
  for (const id of [0, -1, 1.5, '', 'a', 'x'.repeat(256), null]) t.equal(read({ id, method: 'ping' }).id, id)
  for (const id of [{}, [], true, 'x'.repeat(257)]) t.equal(read({ id, method: 'ping' }).id, null)
  t.equal(read('{"id":1e999,"method":"ping"}').id, null)
})

t.test('O4: the tool is named for tools/call alone, and briefly', async (t) => {
  t.equal(read({ method: 'tools/call', params: { name: 'search' } }).tool, 'search')
  t.equal(read({ method: 'tools/call', params: { name: 'x'.repeat(500) } }).tool?.length, 128)
  for (const params of [undefined, null, {}, { name: 1 }, []]) t.equal(read({ method: 'tools/call', params }).tool, undefined)
  t.equal(read({ method: 'prompts/get', params: { name: 'search' } }).tool, undefined)
})

t.test('P1: no body whatever makes it throw', async (t) => {
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), fc.json().map((text) => new TextEncoder().encode(text))), (bytes) => {
    const { id, method } = summarize(Buffer.from(bytes))
    return method.length < 40 && (id === null || typeof id === 'number' || id.length <= 256)
  }))
  t.pass()
})
