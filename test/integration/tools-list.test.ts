import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { gzipSync } from 'node:zlib'
import type { ServerResponse } from 'node:http'
import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { door, drain, eventually, freshToken, open, piece, rawAnswer, startRawUpstream } from '../helpers/peers.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { answerTools, listOf, namesIn, startToolServer } from '../helpers/tool-server.js'
import { guarded, startUpstream, type Answer } from '../helpers/upstream.js'

const NAMES = ['search', 'admin_drop', 'add', 'admin_add']
const SEEN = ['search', 'add']
const SSE = { 'content-type': 'text/event-stream' }
const JSON_TYPE = { 'content-type': 'application/json' }

type Test = Parameters<typeof startSidecar>[0]

/** A sidecar that hides `admin_*`, before an upstream that answers as it is told. */
async function before (t: Test, origin: string) {
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${origin}/mcp", tools: { deny: ["admin_*"] } }, open: { url: "${origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } }, open: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
  return { sidecar, url: `${sidecar.proxyUrl}/tools/mcp`, openUrl: `${sidecar.proxyUrl}/open/mcp`, key: await sidecar.keyFor('alice') }
}

async function start (t: Test, instead: Answer) {
  const server = await startToolServer(t, { tools: NAMES, instead })
  return { server, ...await before(t, server.origin) }
}

const json = (body: string | Buffer, headers: object = JSON_TYPE, status = 200): Answer => (_seen, response) => { response.writeHead(status, { ...headers }).end(body) }

t.test('T1: a list keeps its page, its cursor and everything else, and has a length of its own', async (t) => {
  const text = listOf(NAMES, 'a', { nextCursor: 'page 2', _meta: { big: 12345678901234567890n.toString(), tools: 'untouched' } }).replace('"a"', ' "\\u0061" ')
  const { url, key } = await start(t, json(text, { ...JSON_TYPE, 'content-length': String(text.length), 'mcp-session-id': 's1', etag: '"1"', 'content-digest': 'sha-256=:x:', digest: 'x' }))
  const answer = await call(url, { key })
  t.same(namesIn(answer), SEEN)
  t.equal(answer.body, text.replace(/,\{"name":"admin_\w+".*?\}\}\}\}/g, ''))
  t.equal(answer.headers['content-length'], String(answer.body.length))
  t.match(answer.headers, { 'mcp-session-id': /^[\w-]{40,}$/, etag: '"1"' })
  t.same([answer.headers['content-digest'], answer.headers.digest], [undefined, undefined], 'nothing that would contradict the body')
})

t.test('T1: an answer without a list passes byte for byte, head included', async (t) => {
  for (const type of [JSON_TYPE, { 'content-type': 'text/plain' }]) {
    for (const body of ['{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"tools"}],"value":NaN}}', '[]', '', ' ', 'null', '"tools"', '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"\\u0000","data":{"tools":[{"name":"admin_drop"}]}}}', '[DONE]', '{not json']) {
      const { url, key } = await start(t, json(body, { ...type, 'content-length': String(body.length), digest: 'x' }, 200))
      const answer = await call(url, { key })
      t.same([answer.status, answer.body, answer.headers.digest, answer.headers['content-length']], [200, body, 'x', String(body.length)], body)
    }
  }
})

t.test('T1: an answer in chunks of a byte is read as any other', async (t) => {
  const description = randomBytes(50_000).toString('hex')
  const list = listOf(NAMES, 1, { _meta: { description } })
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, { ...JSON_TYPE, 'transfer-encoding': 'chunked' }).flushHeaders()
    response.socket?.end(Buffer.concat([...[...Buffer.from(list)].map((byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a])), Buffer.from('0\r\n\r\n')]))
  })
  const answer = await call(url, { key })
  t.same(namesIn(answer), SEEN)
  t.equal(answer.json().result._meta.description, description)
})

t.test('T1: what is no JSON and no event stream passes as it comes', async (t) => {
  const gate = door()
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' }).write('  first')
    void gate.opened.then(() => response.end(Buffer.from([0xff, 0, 1])))
  })
  const response = await open(url, { key }).head
  t.equal(await piece(response), '  first')
  gate.open()
  t.equal((await drain(response)).text, '\ufffd\0\u0001')
})

for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'text/json', 'application/vnd.mcp+json', 'text/plain', 'application/octet-stream', undefined]) {
  t.test(`T1: a list is filtered whatever it is called: ${type}`, async (t) => {
    const { url, key } = await start(t, json(`\n\ufeff${listOf(NAMES)}`.trimStart(), type === undefined ? {} : { 'content-type': type }))
    const { body } = await call(url, { key })
    t.same(namesIn({ body: body.replace('\ufeff', ''), headers: {} }), SEEN)
  })
}

t.test('T2: a list of the stateless era says that it is private', async (t) => {
  for (const [more, scope] of [[{ ttlMs: 5_000, cacheScope: 'public' }, 'private'], [{ cacheScope: 'private', ttlMs: 1 }, 'private'], [{ ttlMs: 5_000 }, 'private'], [{}, undefined], [{ cacheScope: 'public' }, 'private']] as const) {
    for (const names of [NAMES, SEEN]) {
      const { url, openUrl, key } = await start(t, json(listOf(names, 1, more)))
      const { result } = (await call(url, { key })).json()
      t.equal(result.cacheScope, scope)
      t.equal(result.ttlMs, (more as { ttlMs?: number }).ttlMs)
      t.equal((await call(openUrl, { key })).body, listOf(names, 1, more), 'and is left alone where everything may be seen')
    }
  }
  const { url, key } = await start(t, json('{"jsonrpc":"2.0","id":1,"result":{"resources":[],"ttlMs":1,"cacheScope":"public"}}'))
  t.equal((await call(url, { key })).json().result.cacheScope, 'public', 'other lists are not filtered')
})

t.test('T1: an event stream passes as it comes, its lists filtered, all else byte for byte', async (t) => {
  const gates = [door(), door(), door()]
  const { url, key, sidecar } = await start(t, (_seen, response) => {
    void (async () => {
      response.writeHead(200, SSE).write('\ufeffid: 0\nretry: 10\ndata:\n\n: comment\n')
      await gates[0]?.opened
      response.write('event: message\r\nid: 1\r\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\r\n\r\n')
      await gates[1]?.opened
      response.write(`id: 2\rdata:${listOf(NAMES)}\rfoo: bar\r\r`)
      await gates[2]?.opened
      response.end('data: {"id":1}\n\n')
    })()
  })
  const response = await open(url, { key, method: 'GET' }).head
  t.equal(response.headers['content-length'], undefined)
  t.equal(await piece(response), '\ufeffid: 0\nretry: 10\ndata:\n\n: comment\n')
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_streams{upstream="tools"}'), 1)
  gates[0]?.open()
  t.equal(await piece(response), 'event: message\r\nid: 1\r\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\r\n\r\n')
  gates[1]?.open()
  t.equal(await piece(response), `id: 2\rdata:${listOf(SEEN)}\rfoo: bar\r\r`)
  gates[2]?.open()
  t.equal((await drain(response)).text, 'data: {"id":1}\n\n')
})

t.test('T1: the head of a stream goes out before anything of its body', async (t) => {
  const gate = door()
  const { url, key } = await start(t, (_seen, response) => {
    response.writeHead(200, SSE).flushHeaders()
    void gate.opened.then(() => response.end())
  })
  const response = await open(url, { key }).head
  t.equal(response.statusCode, 200)
  gate.open()
  t.same(await drain(response), { text: '', complete: true })
})

t.test('T2: a resumed stream is filtered, although nothing here knows what its answers are to', async (t) => {
  const { url, key, server } = await start(t, (seen, response) => {
    response.writeHead(200, SSE).end(`id: ${Number(seen.headers['last-event-id']) + 1}\ndata: [${listOf(NAMES, 'old')},${listOf(NAMES, 'older')}]\n\n`)
  })
  const answer = await call(url, { key, method: 'GET', headers: { 'last-event-id': '41' } })
  t.match(answer.body, /^id: 42\n/)
  t.same(namesIn(answer), [...SEEN, ...SEEN])
  t.equal(server.seen[0]?.headers['last-event-id'], '41')
})

t.test('T2: a list is filtered behind a refresh and a replay', async (t) => {
  const refused = new Set<string>()
  const server = await startUpstream(t, guarded((token) => !refused.has(token), answerTools({ tools: NAMES })))
  const env = { TOKEN: freshToken() }
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${server.origin}/mcp", tools: { deny: ["admin_*"] } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const key = await sidecar.keyFor('alice')
  t.same(namesIn(await call(url, { key })), SEEN)
  refused.add(env.TOKEN)
  env.TOKEN = freshToken()
  const batch = `[${rpc('tools/list')},${rpc('tools/call', { name: 'admin_drop' }, 2)},${rpc('tools/call', { name: 'add' }, 3)}]`
  const answered = await call(url, { key, body: batch })
  t.same(namesIn(answered), SEEN)
  t.match(answered.json(), [{ id: 1 }, { id: 3, result: {} }, { id: 2, error: { code: -32602 } }])
  t.equal(sidecar.events.filter((event) => event.event === 'call').at(-1)?.outcome, 'replayed')
})

t.test('T1: an event that is not ended is not let out as it is', async (t) => {
  for (const [text, seen] of [
    [`data: ${listOf(NAMES)}`, `data: ${listOf(SEEN)}`], [`data: ${listOf(NAMES)}\n`, `data: ${listOf(SEEN)}\n`], [`data: ${listOf(NAMES).slice(0, -1)}`, ''],
    [`data: ${listOf(NAMES).slice(0, -1)}\ndata: }`, `data: ${listOf(SEEN).slice(0, -1)}\ndata: }`], ['data: {"id":1}', 'data: {"id":1}'], ['id: 7', 'id: 7'], [': a', ': a'], ['dat', 'dat'],
  ] as const) {
    const { url, key } = await start(t, json(`data: 1\n\n${text}`, SSE))
    const { body } = await call(url, { key })
    t.equal(body, `data: 1\n\n${seen}`)
  }
})

t.test('T1: an answer in a coding was not asked for, and is not let by unread', async (t) => {
  const { server, url, openUrl, key, sidecar } = await start(t, (seen, response) => {
    const zip = !seen.headers['accept-encoding']?.includes('identity')
    response.writeHead(200, { ...JSON_TYPE, ...(zip ? { 'content-encoding': 'gzip' } : {}) }).end(zip ? gzipSync(listOf(NAMES)) : listOf(NAMES))
  })
  const asked = { 'accept-encoding': 'gzip, br', range: 'bytes=100-', 'if-range': 'x', accept_encoding: 'gzip' }
  t.same(namesIn(await call(url, { key, headers: asked })), SEEN)
  t.match(server.seen[0]?.headers, { 'accept-encoding': 'identity', range: undefined, 'if-range': undefined, accept_encoding: undefined })
  await call(openUrl, { key, headers: asked })
  t.match(server.seen[1]?.headers, { 'accept-encoding': 'gzip, br', range: 'bytes=100-' }, 'where nothing is filtered, everything is as asked')

  const stubborn = await start(t, json(gzipSync(listOf(NAMES)), { ...JSON_TYPE, 'content-encoding': 'gzip' }))
  const answer = await call(stubborn.url, { key: stubborn.key })
  t.same([answer.status, errorCode(answer)], [502, 'ERR_UPSTREAM_INVALID'])
  t.match(await stubborn.sidecar.until(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_INVALID', reason: /compressed/ })
  t.same(sidecar.events.filter(({ event }) => event === 'failed'), [])
})

t.test('T1: what a client may read in another way is not let by', async (t) => {
  const wide = Buffer.from(listOf(NAMES), 'utf16le')
  const cases: Array<[Answer, RegExp]> = [
    [json(listOf(NAMES), { ...JSON_TYPE, 'content-encoding': 'identity, br' }), /compressed/],
    [json(listOf(NAMES), { ...JSON_TYPE, 'content-range': 'bytes 0-9/10' }), /part of one/],
    [json(listOf(NAMES), JSON_TYPE, 206), /part of one/],
    [json(listOf(NAMES), { 'content-type': 'application/json; charset=utf-7' }), /character set/],
    [json(wide, { 'content-type': 'application/json; charset="UTF-16"' }), /character set/],
    [json(`data: ${listOf(NAMES)}\n\n`, { 'content-type': 'text/event-stream; charset=utf-16le' }), /character set/],
    [json(`data: ${listOf(NAMES)}\n\n`, { 'content-type': 'application/json, text/event-stream' }), /content type/],
    [json(`data: ${listOf(NAMES)}\n\n`, { 'content-type': 'x/text/event-stream' }), /content type/],
    [json(wide), /not JSON/],
    [json(Buffer.concat([Buffer.from([0xff, 0xfe]), wide])), /not JSON/],
    [json(Buffer.from(wide).swap16()), /not JSON/],
    [json(listOf(NAMES) + '}'), /not JSON/],
    [json(listOf(NAMES).slice(0, -1)), /not JSON/],
    [json(`${'['.repeat(600)}"tools"${']'.repeat(600)}`), /not JSON/],
    [json(listOf([]).replace('[]', `[${'{},'.repeat(100_000)}{}]`)), /not JSON/],
  ]
  for (const [answer, reason] of cases) {
    const { url, key, sidecar } = await start(t, answer)
    const got = await call(url, { key })
    t.same([got.status, errorCode(got)], [502, 'ERR_UPSTREAM_INVALID'], String(reason))
    t.match(await sidecar.until(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_INVALID', reason })
    t.match(await sidecar.until(({ event }) => event === 'call'), { status: 502, outcome: 'error' })
  }
  const latin = await start(t, json(listOf(NAMES), { 'content-type': 'application/json;charset=ISO-8859-1' }))
  t.same(namesIn(await call(latin.url, { key: latin.key })), SEEN, 'what is ASCII but for some letters can be read')
})

t.test('T1: an event that cannot be read breaks its stream off', async (t) => {
  for (const event of [`data: ${listOf(NAMES).slice(0, -1)}\n\n`, 'data: {"result":{"tools":[{"name":"admin_drop"}]}\n\n', 'data: {"\\u0074ools":\n\n']) {
    const gate = door()
    const { url, key, sidecar } = await start(t, (_seen, response) => {
      response.writeHead(200, SSE).write('data: {"id":1}\n\n')
      void gate.opened.then(() => response.write(event))
    })
    const response = await open(url, { key }).head
    t.equal(await piece(response), 'data: {"id":1}\n\n')
    gate.open()
    t.same(await drain(response), { text: '', complete: false })
    t.match(await sidecar.until(({ event }) => event === 'failed'), { code: 'ERR_UPSTREAM_INVALID', reason: /not JSON/ })
    t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'broken', code: 'ERR_UPSTREAM_INVALID' })
    await sidecar.until(({ event }) => event === 'stream_closed')
  }
  const fine = await start(t, json('data: {not json\n\ndata: [DONE]\n\ndata: plain\n\n', SSE))
  t.equal((await call(fine.url, { key: fine.key })).body, 'data: {not json\n\ndata: [DONE]\n\ndata: plain\n\n', 'unless nobody could read a list in it')
})

/** Sends blocks for as long as they are taken, and tells how much it was. */
function endless (response: ServerResponse, block: Buffer): { sent: number, closed: boolean } {
  const told = { sent: 0, closed: false }
  const more = (): void => {
    while (!response.destroyed) {
      told.sent += block.length
      if (!response.write(block)) return void response.once('drain', more)
    }
  }
  response.on('close', () => { told.closed = true })
  more()
  return told
}

t.test('row 43: an event, a line or an answer that never ends is given up at 16 MiB, and its connection with it', async (t) => {
  for (const [type, begin] of [[SSE, 'data: {"jsonrpc":"2.0","result":"'], [SSE, ': a comment '], [SSE, 'data: {\n'], [JSON_TYPE, '{"result":"'], [{ 'content-type': 'text/plain' }, '[']] as const) {
    const block = begin === 'data: {\n' ? Buffer.from('data: 1,\n'.repeat(8_000)) : Buffer.alloc(1 << 16, 'x')
    const sending: Array<ReturnType<typeof endless>> = []
    const { url, key, sidecar } = await start(t, (_seen, response) => {
      response.writeHead(200, type).write(begin)
      sending.push(endless(response, block))
    })
    const ending = await drain(await open(url, { key }).head)
    const failed = await sidecar.until(({ event }) => event === 'failed')
    t.match(failed, { code: 'ERR_UPSTREAM_INVALID', reason: /longer than 16 MiB/ })
    await eventually(() => sending[0]?.closed === true, 'the upstream\'s connection closes')
    t.ok((sending[0]?.sent as number) < 64 << 20, `${sending[0]?.sent} bytes were taken at most`)
    if (type === SSE) t.same([ending.complete, ending.text], [false, ''])
    else t.match(JSON.parse(ending.text), { error: { data: { code: 'ERR_UPSTREAM_INVALID' } } })
  }
})

t.test('row 43: a stream of any length is kept no longer than an event', async (t) => {
  const event = Buffer.from(`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${'x'.repeat(60_000)}"}}\n\n`)
  const COUNT = 1_500
  const { url, key } = await start(t, (_seen, response) => {
    let left = COUNT
    const more = (): void => {
      while (left-- > 0) if (!response.write(event)) return void response.once('drain', more)
      response.end(`data: ${listOf(NAMES)}\n\n`)
    }
    response.writeHead(200, SSE)
    more()
  })
  const response = await open(url, { key }).head
  let length = 0
  let tail = Buffer.alloc(0)
  response.on('data', (chunk: Buffer) => {
    length += chunk.length
    tail = Buffer.concat([tail, chunk]).subarray(-2_000)
  })
  await once(response, 'end')
  t.equal(length, COUNT * event.length + `data: ${listOf(SEEN)}\n\n`.length)
  t.ok(tail.toString().endsWith(`data: ${listOf(SEEN)}\n\n`))
})

t.test('row 32: an agent that leaves while its answer is read frees the upstream\'s connection', async (t) => {
  for (const [type, begin] of [[JSON_TYPE, '{"result":{"tools":['], [SSE, 'data: {"result":{"tools":['], [{ 'content-type': 'text/plain' }, '[']] as const) {
    const closed = door()
    const begun = door()
    const { url, key, sidecar } = await start(t, (_seen, response) => {
      response.on('close', closed.open)
      response.writeHead(200, type).write(begin, () => begun.open())
    })
    const { request } = open(url, { key })
    await begun.opened
    request.destroy()
    await closed.opened
    t.match(await sidecar.until(({ event }) => event === 'call'), { outcome: 'aborted' })
    t.same(sidecar.events.filter(({ event }) => event === 'failed'), [])
  }
})

t.test('row 42: a list that nobody asked for reaches no later caller', async (t) => {
  const upstream = await startRawUpstream(t, (socket) => {
    const stray = listOf(['admin_stray'])
    socket.write(rawAnswer(listOf(NAMES)) + rawAnswer(stray))
  })
  const { url, key } = await before(t, upstream.origin)
  for (let n = 0; n < 5; n++) {
    const answer = await call(url, { key }).catch(() => undefined)
    if (answer === undefined) continue
    t.notMatch(answer.body, /admin_/)
    if (answer.status === 200) t.same(namesIn(answer), SEEN)
  }
})

t.test('row 44: agents of several principals, all at once, see and call what is theirs and nothing else', async (t) => {
  const PRINCIPALS = ['ann', 'ben', 'cas', 'dee']
  const KINDS = ['read', 'write', 'drop']
  const tools = PRINCIPALS.flatMap((principal) => KINDS.map((kind) => `${principal}_${kind}`))
  const servers = [await startToolServer(t, { tools, list: { nextCursor: 'n' } }), await startToolServer(t, { tools, as: 'sse' })]
  const env: Record<string, string> = Object.fromEntries(PRINCIPALS.map((name) => [name.toUpperCase(), freshToken()]))
  const credentials = (name: string): string => `{ json: { type: api_token, token: { env: ${name.toUpperCase()} } }, sse: { type: api_token, token: { env: ${name.toUpperCase()} } } }`
  const sidecar = await startSidecar(t, `
upstreams: { json: { url: "${servers[0]?.origin}/mcp" }, sse: { url: "${servers[1]?.origin}/mcp" } }
principals:
${PRINCIPALS.map((name) => `  ${name}: { tools: { allow: ["${name}_*"] }, credentials: ${credentials(name)} }`).join('\n')}
`, { env })
  const agents = await Promise.all(PRINCIPALS.flatMap((principal) => KINDS.map(async (kind) => ({
    principal, kind, key: await sidecar.keyFor(principal, `no ${kind}`, { deny: [`*_${kind}`] }), may: KINDS.filter((other) => other !== kind).map((other) => `${principal}_${other}`),
  }))))
  const wrong: string[] = []
  await Promise.all(agents.flatMap(({ principal, kind, key, may }) => Array.from({ length: 12 }, async (_, turn) => {
    const upstream = turn % 2 === 0 ? 'json' : 'sse'
    const url = `${sidecar.proxyUrl}/${upstream}/mcp`
    const names = namesIn(await call(url, { key }))
    if (names.join() !== may.join()) wrong.push(`${principal} without ${kind} saw ${names.join()}`)
    const tool = tools[(turn * 7 + kind.length) % tools.length] as string
    const id = randomUUID()
    const { body } = await call(url, { key, body: rpc('tools/call', { name: tool }, id) })
    if (!body.includes(id)) wrong.push(`${principal} got an answer to another call`)
    if (body.includes(`called ${tool}`) !== may.includes(tool)) wrong.push(`${principal} without ${kind} called ${tool}`)
  })))
  t.same(wrong, [])
  for (const { seen } of servers) {
    for (const { headers, body } of seen) {
      const owner = PRINCIPALS.find((name) => headers.authorization === `Bearer ${env[name.toUpperCase()]}`)
      const { params } = JSON.parse(body.toString()) as { params: { name?: string } }
      if (params.name !== undefined) t.ok(params.name.startsWith(`${owner}_`), `${owner}'s token went with ${params.name}`)
    }
  }
})
