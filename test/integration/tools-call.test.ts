import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { freshToken } from '../helpers/peers.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { calledAt, messagesIn, namesIn, startToolServer } from '../helpers/tool-server.js'

const TOOLS = ['search_notes', 'search_mail', 'add', 'admin_drop', 'admin_add']

type Test = Parameters<typeof startSidecar>[0]

/** A sidecar before one server; rules of upstream and principal as flow-style YAML. */
async function start (t: Test, rules: { upstream?: string, principal?: string, more?: string } = {}, options: Partial<Parameters<typeof startToolServer>[1]> = {}) {
  const server = await startToolServer(t, { tools: TOOLS, ...options })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${server.origin}/mcp"${rules.upstream === undefined ? '' : `, tools: ${rules.upstream}`}${rules.more === undefined ? '' : `, ${rules.more}`} } }
principals: { alice: { ${rules.principal === undefined ? '' : `tools: ${rules.principal}, `}credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
  return { server, sidecar, url: `${sidecar.proxyUrl}/tools/mcp` }
}

for (const as of ['json', 'sse'] as const) {
  t.test(`T1: a session lists and calls what upstream, principal and session all allow (${as})`, async (t) => {
    const { server, sidecar, url } = await start(t, { upstream: '{ deny: ["*_drop"] }', principal: '{ allow: ["search_*", "admin_*"] }' }, { as })
    const wide = await sidecar.keyFor('alice')
    const narrow = await sidecar.keyFor('alice', 'narrow', { deny: ['search_mail'] })
    t.same(namesIn(await call(url, { key: wide })), ['search_notes', 'search_mail', 'admin_add'])
    t.same(namesIn(await call(url, { key: narrow })), ['search_notes', 'admin_add'])

    const calling = async (key: string, name: string) => messagesIn(await call(url, { key, body: rpc('tools/call', { name, arguments: { name: 'x' } }, 7) }))
    t.match(await calling(wide, 'search_mail'), [{ id: 7, result: { content: [{ text: 'called search_mail' }] } }])
    t.strictSame(await calling(narrow, 'search_mail'), [{ jsonrpc: '2.0', id: 7, error: { code: -32602, message: 'Unknown tool: search_mail' } }])
    t.strictSame(await calling(wide, 'add'), [{ jsonrpc: '2.0', id: 7, error: { code: -32602, message: 'Unknown tool: add' } }])
    t.strictSame(await calling(wide, 'admin_drop'), [{ jsonrpc: '2.0', id: 7, error: { code: -32602, message: 'Unknown tool: admin_drop' } }])
    t.same(calledAt(server.seen), ['search_mail'], 'nothing of the others went upstream')
  })
}

t.test('T1: what is denied is told with its context, and counted', async (t) => {
  const { sidecar, url } = await start(t, { upstream: '{ deny: ["admin_*"] }' })
  const answer = await call(url, { key: await sidecar.keyFor('alice', 'planner'), body: rpc('tools/call', { name: 'admin_drop' }, 'a') })
  t.equal(answer.status, 200)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.equal(answer.headers['cache-control'], 'no-store')
  const denied = await sidecar.until(({ event }) => event === 'denied')
  t.match(denied, { principal: 'alice', agent: 'planner', upstream: 'tools', rpc_method: 'tools/call', tool: 'admin_drop', reason: 'tool' })
  t.match(await sidecar.until(({ event }) => event === 'call'), { status: 200, outcome: 'error', tool: 'admin_drop', code: undefined })
  const exposition = await sidecar.metrics()
  t.equal(metric(exposition, 'mcp_valet_denied_total{reason="tool"}'), 1)
  t.notMatch(exposition, /admin_drop/, 'no label has what an agent made up')
})

t.test('T1: a caller without a principal has the rules of the upstream', async (t) => {
  const { server, sidecar, url } = await start(t, { upstream: '{ allow: ["search_*"] }', principal: '{ allow: [] }', more: 'anonymous: [no_principal]' })
  t.same(namesIn(await call(url)), ['search_notes', 'search_mail'])
  t.match((await call(url, { body: rpc('tools/call', { name: 'add' }) })).json(), { error: { message: 'Unknown tool: add' } })
  t.match((await call(url, { body: rpc('tools/call', { name: 'search_mail' }) })).json(), { result: {} })
  t.same(namesIn(await call(url, { key: await sidecar.keyFor('alice') })), [], 'and alice none at all')
  t.same(calledAt(server.seen), ['search_mail'])
})

t.test('T1: a session of the config has the tools that the config gives it', async (t) => {
  const server = await startToolServer(t, { tools: TOOLS })
  const key = `vk_${'k'.repeat(43)}`
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${server.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY }, tools: { allow: [add] } }]
`, { env: { TOKEN: freshToken(), KEY: key } })
  t.same(namesIn(await call(`${sidecar.proxyUrl}/tools/mcp`, { key })), ['add'])
  t.same(namesIn(await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })), TOOLS)
})

t.test('T1: a denied call needs neither a token nor the upstream', async (t) => {
  const server = await startToolServer(t, { tools: TOOLS })
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${server.origin}/mcp", deadline: 100ms, tools: { deny: [add] } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: NONE } } } } }
`)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const key = await sidecar.keyFor('alice')
  t.match((await call(url, { key, body: rpc('tools/call', { name: 'add' }) })).json(), { error: { message: 'Unknown tool: add' } })
  t.equal(errorCode(await call(url, { key, body: rpc('tools/call', { name: 'other' }) })), 'ERR_CREDENTIAL_UNAVAILABLE')
})

t.test('T1: an agent that accepts nothing but events gets the refusal as one', async (t) => {
  const { sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const key = await sidecar.keyFor('alice')
  const ask = async (accept: string) => await call(url, { key, body: rpc('tools/call', { name: 'add' }, 5), headers: { accept } })
  for (const accept of ['text/event-stream', 'TEXT/event-stream;q=0.9', 'text/event-stream, application/json;q=0', 'text/html, text/event-stream']) {
    const answer = await ask(accept)
    t.equal(answer.headers['content-type'], 'text/event-stream')
    t.equal(answer.body, 'event: message\ndata: {"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"Unknown tool: add"}}\n\n')
  }
  for (const accept of ['application/json', 'application/json, text/event-stream', '*/*', 'text/event-stream, application/*', 'text/plain']) {
    t.match((await ask(accept)).json(), { id: 5, error: { code: -32602 } }, accept)
  }
})

t.test('T1: the id comes back as it was written', async (t) => {
  const { sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const key = await sidecar.keyFor('alice')
  const ask = async (id: string) => (await call(url, { key, body: `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"add"}}` })).body
  for (const id of ['1', '-0', '1.50', '1e400', '123456789012345678901234567890', '"a"', '"\\u0061\\n"', `"${'x'.repeat(100_000)}"`, 'null']) {
    t.ok((await ask(id)).startsWith(`{"jsonrpc":"2.0","id":${id},"error":`), id.slice(0, 40))
  }
  for (const id of ['{}', '[1]', 'true', 'false']) t.match(await ask(id), /"id":null/)
})

t.test('T1: a call that is a notification is not answered, nor sent', async (t) => {
  const { server, sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const answer = await call(url, { key: await sidecar.keyFor('alice'), body: '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"add"}}' })
  t.same([answer.status, answer.body], [202, ''])
  t.same(server.seen, [])
  t.match(await sidecar.until(({ event }) => event === 'denied'), { tool: 'add' })
})

t.test('T1: a call whose tool cannot be told is no call of an allowed one', async (t) => {
  const { server, sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const key = await sidecar.keyFor('alice')
  for (const params of [undefined, 'null', '{}', '[]', '["search_notes"]', '"search_notes"', '{"name":1}', '{"name":null}', '{"name":["search_notes"]}', '{"name":{}}']) {
    const answer = await call(url, { key, body: `{"jsonrpc":"2.0","id":1,"method":"tools/call"${params === undefined ? '' : `,"params":${params}`}}` })
    t.strictSame(answer.json(), { jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'Unknown tool' } }, String(params))
  }
  t.same(server.seen, [])
})

t.test('T1: a name of any length is answered, and only its beginning repeated', async (t) => {
  const { sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const answer = await call(url, { key: await sidecar.keyFor('alice'), body: rpc('tools/call', { name: 'n'.repeat(1 << 20) }) })
  t.match(answer.json(), { error: { message: `Unknown tool: ${'n'.repeat(512)}` } })
  t.equal((await sidecar.until(({ event }) => event === 'denied') as { tool?: string }).tool?.length, 128)
})

t.test('T1: everything else goes on as it came, whatever its method', async (t) => {
  const { server, sidecar, url } = await start(t, { upstream: '{ deny: [add] }' })
  const key = await sidecar.keyFor('alice')
  const bodies = [
    rpc('initialize', { name: 'add' }), rpc('prompts/get', { name: 'add' }), rpc('something/else', { name: 'add' }), rpc('tools/list', { cursor: 'c' }),
    '{"jsonrpc":"2.0","method":"notifications/initialized"}', '{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call","params":{"name":"add"}}}', '[]',
    ' {"jsonrpc" : "2.0", "id":12345678901234567890, "method":"tools\\/call",\r\n "params":{"name":"se\\u0061rch_notes","arguments":{"name":"add","name":"add"}}} \n',
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search_mail","arguments":[${'0,'.repeat(120_000)}0]}}`,
  ]
  for (const body of bodies) {
    t.ok((await call(url, { key, body })).status < 300, body.slice(0, 60))
    t.equal(server.seen.at(-1)?.body.toString(), body)
  }
  t.same(sidecar.events.filter(({ event }) => event === 'denied'), [])
  t.match(sidecar.events.filter(({ event }) => event === 'call').map((event) => (event as { rpc_method?: string }).rpc_method),
    ['initialize', 'prompts/get', 'other', 'tools/list', 'notifications/initialized', 'response', 'batch', 'tools/call', 'tools/call'])
})
