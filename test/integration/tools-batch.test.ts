import t from 'tap'
import { call, rpc } from '../helpers/call.js'
import { freshToken } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'
import { messagesIn, namesIn, sendJson, startToolServer, type ToolServerOptions } from '../helpers/tool-server.js'

const TOOLS = ['search', 'add', 'admin_drop']

type Test = Parameters<typeof startSidecar>[0]

async function start (t: Test, options: Partial<ToolServerOptions> = {}) {
  const server = await startToolServer(t, { tools: TOOLS, ...options })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${server.origin}/mcp", tools: { deny: ["admin_*"] } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
  const key = await sidecar.keyFor('alice')
  return { server, sidecar, send: async (body: string, accept = 'application/json, text/event-stream') => await call(`${sidecar.proxyUrl}/tools/mcp`, { key, body, headers: { accept } }) }
}

const calling = (name: string, id: number | string): string => rpc('tools/call', { name }, id)
const denied = (id: unknown, name = 'admin_drop'): object => ({ jsonrpc: '2.0', id, error: { code: -32602, message: `Unknown tool: ${name}` } })

for (const as of ['json', 'sse'] as const) {
  t.test(`T1: of a batch the rest goes on, byte for byte, and the answers come together (${as})`, async (t) => {
    const { server, send } = await start(t, { as })
    const [one, two, three] = [calling('search', 1), ' {"id" : "b","jsonrpc":"2.0",\t"method":"tools/call","params":{"name":"add" }}', calling('add', 3)]
    const bad = (id: string): string => calling('admin_drop', id)
    for (const [batch, sent] of [
      [`[${bad('x')},${one},${two}]`, `[${one},${two}]`],
      [`[${one},${bad('x')},${two}]`, `[${one},${two}]`],
      [`[ ${one} , ${two} , ${bad('x')} ]`, `[ ${one} , ${two} ]`],
      [`[${bad('x')} , ${bad('y')}\n,\n${one},${bad('z')},${two} ,${bad('w')},${three}]\r\n`, `[${one},${two},${three}]\r\n`],
      [`[${bad('x')},${one}]`, `[${one}]`],
    ] as const) {
      const answer = await send(batch)
      t.equal(server.seen.at(-1)?.body.toString(), sent)
      const asked = JSON.parse(batch) as Array<{ id: unknown, params: { name: string } }>
      const byId = new Map(messagesIn(answer).map((message) => [message.id, message]))
      t.equal(byId.size, asked.length)
      for (const { id, params } of asked) {
        if (params.name === 'admin_drop') t.strictSame(byId.get(id), denied(id))
        else t.match(byId.get(id), { result: { content: [{ text: `called ${params.name}` }] } })
      }
    }
  })
}

t.test('T1: of a batch in which nothing is allowed nothing goes on', async (t) => {
  const { server, send } = await start(t)
  t.strictSame((await send(`[${calling('admin_drop', 1)}]`)).json(), [denied(1)])
  t.strictSame((await send(`[${calling('admin_drop', 1)},${calling('admin_x', 'b')}]`)).json(), [denied(1), denied('b', 'admin_x')])
  t.equal((await send(`[${calling('admin_drop', 1)},${calling('admin_x', 'b')}]`, 'text/event-stream')).body.match(/^data: /gm)?.length, 2)
  const silent = await send('[{"jsonrpc":"2.0","method":"tools/call","params":{"name":"admin_drop"}}]')
  t.same([silent.status, silent.body], [202, ''])
  t.same(server.seen, [])
})

t.test('T1: each denied call of a batch is told', async (t) => {
  const { sidecar, send } = await start(t)
  await send(`[${calling('admin_drop', 1)},${calling('search', 2)},${calling('admin_x', 3)}]`)
  t.match(sidecar.events.filter(({ event }) => event === 'denied'), [
    { rpc_method: 'tools/call', tool: 'admin_drop', reason: 'tool' }, { rpc_method: 'tools/call', tool: 'admin_x', reason: 'tool' },
  ])
  t.match(await sidecar.until(({ event }) => event === 'call'), { rpc_method: 'batch', outcome: 'ok' })
})

t.test('T1: a list within a batch is filtered like any other', async (t) => {
  for (const as of ['json', 'sse'] as const) {
    const { send } = await start(t, { as })
    t.same(namesIn(await send(`[${rpc('ping')},${rpc('tools/list', {}, 2)},${calling('admin_drop', 3)},${rpc('tools/list', {}, 4)}]`)), ['search', 'add', 'search', 'add'])
  }
})

t.test('T1: what is owed comes with whatever answer there is to the rest', async (t) => {
  const { send } = await start(t)
  const answer = await send(`[${calling('admin_drop', 1)},{"jsonrpc":"2.0","method":"notifications/initialized"}]`)
  t.equal(answer.status, 200, 'in place of a 202 without a body')
  t.strictSame(answer.json(), [denied(1)])
  t.match(answer.headers['content-type'], /^application\/json/)

  const one = { jsonrpc: '2.0', id: 2, result: { ok: true } }
  const single = await start(t, { instead: (_seen, response) => sendJson(response, one) })
  t.strictSame((await single.send(`[${calling('admin_drop', 1)},${calling('add', 2)}]`)).json(), [one, denied(1)], 'a single answer becomes one of several')

  const empty = await start(t, { instead: (_seen, response) => sendJson(response, []) })
  t.strictSame((await empty.send(`[${calling('admin_drop', 1)},${calling('add', 2)}]`)).json(), [denied(1)])

  const marked = await start(t, { instead: (_seen, response) => { response.writeHead(200, { 'content-type': 'application/json' }).end(`\ufeff [${JSON.stringify(one)} ] `) } })
  t.strictSame(JSON.parse((await marked.send(`[${calling('admin_drop', 1)},${calling('add', 2)}]`)).body.replace('\ufeff', '')), [one, denied(1)])

  const notification = await start(t)
  const batch = `[{"jsonrpc":"2.0","method":"tools/call","params":{"name":"admin_drop"}},${calling('add', 2)}]`
  t.match((await notification.send(batch)).json(), [{ id: 2, result: {} }], 'and nothing is owed to a notification')
})

t.test('T1: a server that refuses the batch is passed on as it is', async (t) => {
  for (const [status, type, body] of [[400, 'application/json', '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}'], [200, 'text/html', '<p>hello'], [200, 'application/json', 'null'], [404, 'text/plain', '']] as const) {
    const { send } = await start(t, { instead: (_seen, response) => { response.writeHead(status, { 'content-type': type, 'x-own': 'yes' }).end(body) } })
    const answer = await send(`[${calling('admin_drop', 1)},${calling('add', 2)}]`)
    t.same([answer.status, answer.headers['content-type'], answer.headers['x-own'], answer.body], [status, type, 'yes', body])
  }
})

t.test('T1: a batch of a thousand and one is refused where it must be read', async (t) => {
  const { server, send } = await start(t)
  const batch = (count: number): string => `[${Array.from({ length: count }, (_, id) => calling('add', id)).join(',')}]`
  t.equal((await send(batch(1_000))).status, 200)
  const answer = await send(batch(1_001))
  t.equal(answer.status, 400)
  t.match(answer.json(), { error: { data: { code: 'ERR_BODY_INVALID' } } })
  t.equal(server.seen.length, 1)
})
