import t from 'tap'
import { summarize } from '../../../src/mcp/message.js'
import { isModest } from '../../../src/mcp/modest.js'

const call = (value: unknown): Buffer => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add', value } }))

t.test('row 43: a body that would keep the parser busy is not parsed', async (t) => {
  const keys = Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`k${i}`, 0]))
  for (const body of [Buffer.alloc(4 << 20, '['), Buffer.alloc(4 << 20, '{"a":'), call(keys), call(new Array(60_000).fill(0))]) {
    t.notOk(isModest(body))
    t.same(summarize(body), { id: null, method: 'other', tool: undefined })
  }
})

t.test('row 43: a large body of ordinary shape is, whatever its strings hold', async (t) => {
  for (const text of ['x'.repeat(4 << 20), '[,{'.repeat(500_000), '"\\'.repeat(200_000), '😀'.repeat(200_000)]) {
    const body = call(text)
    t.ok(isModest(body))
    t.same(summarize(body), { id: 1, method: 'tools/call', tool: 'add' })
  }
  t.ok(isModest(call(new Array(20_000).fill({}))))
})
