import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTls } from 'node:https'
import { createServer as createTcp, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { AdminClient } from '../../../src/cli/admin-client.js'
import { findTarget } from '../../../src/cli/admin-target.js'
import type { Expected } from '../../../src/cli/expected.js'
import { mintToken } from '../../helpers/mint.js'
import { makeCa, makeCertificate } from '../../helpers/tls.js'

async function serve (t: Test, server: Server, where: { path: string } | { port: 0, host: '127.0.0.1' } = { port: 0, host: '127.0.0.1' }): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => { sockets.add(socket.on('error', () => {})) })
  await new Promise<void>((resolve) => server.listen(where, resolve))
  t.teardown(async () => await new Promise((resolve) => {
    for (const socket of sockets) socket.destroy()
    server.close(resolve)
  }))
  return 'path' in where ? `unix:${where.path}` : `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const clientOf = async (adminUrl: string, MCP_VALET_ADMIN_TOKEN = mintToken()): Promise<AdminClient> =>
  new AdminClient(await findTarget({ adminUrl, config: '/nonexistent', env: { MCP_VALET_ADMIN_TOKEN } }))
const ANY: Expected = { status: 200, fits: () => true }
/** What would otherwise be waited for until the test runner has had enough. */
const settled = async <T>(asked: Promise<T>): Promise<T> => await Promise.race([asked, sleep(5_000, undefined, { ref: false }).then(() => { throw new Error('it never ended') })])
const answering = (status: number, body: string): RequestListener => (_request, response) => { response.writeHead(status).end(body) }

t.test('a request has the token, and a body where there is one', async (t) => {
  const token = mintToken()
  const seen: object[] = []
  const at = await serve(t, createServer((request, response) => {
    const { method, url, headers: { authorization, 'content-type': type, 'content-length': length, host } } = request
    seen.push({ method, url, authorization, type, length, host })
    request.resume().on('end', () => response.end('{"a": 1}'))
  }))
  const client = await clientOf(at, token)
  t.same(await client.ask('POST', '/x?y=1', ANY, { body: { é: 1 } }), { a: 1 })
  await client.ask('GET', '/z', ANY)
  t.same(seen, [
    { method: 'POST', url: '/v1/x?y=1', authorization: `Bearer ${token}`, type: 'application/json', length: '8', host: at },
    { method: 'GET', url: '/v1/z', authorization: `Bearer ${token}`, type: undefined, length: '0', host: at },
  ])
  t.same([client.name, client.host], [`http://${at}`, '127.0.0.1'])
})

t.test('a socket is spoken to like a port', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => await rm(dir, { recursive: true }))
  const at = await serve(t, createServer((request, response) => { response.end(JSON.stringify({ url: request.url, host: request.headers.host })) }), { path: join(dir, 's') })
  const client = await clientOf(at)
  t.same(await client.ask('GET', '/x', ANY), { url: '/v1/x', host: 'localhost' })
  t.equal(client.host, 'localhost')
})

t.test('a path before /v1 is kept', async (t) => {
  const at = await serve(t, createServer((request, response) => { response.end(JSON.stringify({ url: request.url })) }))
  t.same(await (await clientOf(`http://${at}/valet/`)).ask('GET', '/x', ANY), { url: '/valet/v1/x' })
})

t.test('an answer without a body is one', async (t) => {
  const at = await serve(t, createServer(answering(204, '')))
  t.same(await (await clientOf(at)).ask('DELETE', '/x', { ...ANY, status: 204 }), {})
})

t.test('a list is read page by page', async (t) => {
  const seen: string[] = []
  const at = await serve(t, createServer((request, response) => {
    seen.push(request.url as string)
    const page = seen.length
    response.end(JSON.stringify({ things: page < 4 ? [{ page }] : [], next_cursor: page < 3 ? `c/${page}` : page === 3 ? 'more' : 'for ever' }))
  }))
  const client = await clientOf(at)
  t.same(await client.list('/things?a=b', 'things', () => true), [{ page: 1 }, { page: 2 }, { page: 3 }])
  t.same(seen, ['/v1/things?a=b&limit=1000', '/v1/things?a=b&limit=1000&cursor=c%2F1', '/v1/things?a=b&limit=1000&cursor=c%2F2', '/v1/things?a=b&limit=1000&cursor=more'])
})

t.test('a list that leads back to itself, or has no end, is not read for ever', async (t) => {
  const leading = async (cursorOf: (page: number) => string, things: object[] = [{}]) => {
    let asked = 0
    const at = await serve(t, createServer((_request, response) => { response.end(JSON.stringify({ things, next_cursor: ++asked > 1_500 ? null : cursorOf(asked) })) }))
    const error = await (await clientOf(at)).list('/things', 'things', () => true).catch((error: unknown) => error)
    return { error, asked }
  }
  t.match(await leading(() => 'same'), { asked: 2, error: { exitCode: 1, message: /is not the admin API of mcp-valet/ } })
  t.match(await leading((page) => `c${page % 3}`), { asked: 4, error: { exitCode: 1, message: /is not the admin API of mcp-valet/ } })
  t.match(await leading((page) => `c${page}`), { asked: 1_000, error: { exitCode: 1, message: /longer than 1000000 entries/ } })
  t.match(await leading((page) => `c${page}`, Array(1_001).fill({})), { asked: 1, error: { exitCode: 1, message: /is not the admin API of mcp-valet/ } })
})

t.test('what is refused says why, printable', async (t) => {
  const error = { code: 'ERR_REQUEST_INVALID', message: 'No\u001b[31m.', details: [{ path: 'ttl', message: 'wrong\n' }, { path: '', message: 'all of it' }, 7] }
  const at = await serve(t, createServer(answering(400, JSON.stringify({ error }))))
  await t.rejects((await clientOf(at)).ask('GET', '/x', ANY), { name: 'AdminFailure', exitCode: 1, code: 'ERR_REQUEST_INVALID', message: 'No\\u{1b}[31m.\n  ttl: wrong\\u{a}\n  all of it' })
})

t.test('a wrong token says where it came from, a missing one how to give it', async (t) => {
  const at = await serve(t, createServer(answering(401, '{"error":{"code":"ERR_ADMIN_UNAUTHORIZED","message":""}}')))
  await t.rejects((await clientOf(at)).ask('GET', '/x', ANY), { exitCode: 1, message: /refuses the admin token of env MCP_VALET_ADMIN_TOKEN.*admin\.token.*--admin-token-file/ })
  await t.rejects((await clientOf(at, '')).ask('GET', '/x', ANY), { exitCode: 1, message: /asks for the admin token: give it with --admin-token-file/ })
})

t.test('a token that cannot be read is told before anything is sent', async (t) => {
  let asked = 0
  const at = await serve(t, createServer((_request, response) => { asked++; response.end('{}') }))
  const client = new AdminClient(await findTarget({ adminUrl: at, adminTokenFile: '/nonexistent/token', config: '/nonexistent', env: {} }))
  await t.rejects(client.ask('GET', '/x', ANY), { exitCode: 1, message: /cannot be read: .*\/nonexistent\/token.*MCP_VALET_ADMIN_TOKEN/s })
  t.equal(asked, 0)
})

t.test('what is no admin API is told as such', async (t) => {
  for (const [status, body] of [[200, 'hello'], [200, '[]'], [200, '"x"'], [404, 'not found'], [404, '{"error":"not found"}'], [401, '{"error":{}}'], [302, ''], [500, 'null'], [200, '']] as const) {
    const at = await serve(t, createServer(answering(status, body)))
    await t.rejects((await clientOf(at)).ask('GET', '/x', ANY), { exitCode: 1, message: new RegExp(`not the admin API of mcp-valet \\(HTTP ${status}\\).*8402`) }, body)
  }
  for (const body of ['{}', '{"things":{}}', '{"things":[1]}', '{"things":[[]]}']) {
    const at = await serve(t, createServer(answering(200, body)))
    await t.rejects((await clientOf(at)).list('/things', 'things', () => true), { exitCode: 1, message: /not the admin API/ }, body)
  }
})

t.test('an answer without an end is not read to its end', async (t) => {
  const at = await serve(t, createServer((_request, response) => {
    const chunk = Buffer.alloc(1024 * 1024, ' ')
    const write = (): void => { while (!response.destroyed && response.write(chunk)); response.once('drain', write) }
    write()
  }))
  await t.rejects((await clientOf(at)).ask('GET', '/x', ANY), { exitCode: 1, message: /64 MiB/ })
})

t.test('what cannot be reached ends with 3 and says what to do', async (t) => {
  const closed = createTcp()
  const gone = await serve(t, closed)
  await new Promise((resolve) => closed.close(resolve))
  const resets = await serve(t, createTcp((socket) => { socket.resetAndDestroy() }))
  const talks = await serve(t, createTcp((socket) => { socket.end('SSH-2.0-x\r\n') }))
  for (const [where, what] of [
    [gone, 'accepts no connection'], ['unix:/nonexistent/valet.sock', 'has no socket there'], [resets, 'closed the connection'], [talks, /\(HPE_/], ['http://nowhere.invalid', 'has a name that is not known here'],
  ] as const) {
    const error = await (await clientOf(where)).ask('GET', '/x', ANY).catch((error: unknown) => error) as Error
    t.match(error, { name: 'AdminFailure', exitCode: 3, message: /^mcp-valet cannot be reached at .*mcp-valet serve.*--admin-url/ }, where)
    t.match(error.message, what)
  }
})

t.test('what does not answer is waited for, but not for ever', async (t) => {
  const at = await serve(t, createServer(() => {}))
  await t.rejects((await clientOf(at)).ask('GET', '/x', ANY, { patience: 50 }), { exitCode: 3, message: /did not answer within 0\.05 s/ })
  const slow = await serve(t, createServer((_request, response) => { response.writeHead(200).write('{') }))
  await t.rejects((await clientOf(slow)).ask('GET', '/x', ANY, { patience: 100 }), { exitCode: 3, message: /did not answer within/ })
})

t.test('who would speak another protocol is a stranger, and one who says nothing cannot be reached', async (t) => {
  const switching = await serve(t, createTcp((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'))
  }))
  await t.rejects(settled((await clientOf(switching)).ask('GET', '/x', ANY)), { exitCode: 1, message: /is not the admin API of mcp-valet \(HTTP 101\)/ })
  t.same(await settled((await clientOf(switching)).probe('/readyz', 5_000)), { status: 101, said: {} })
  const silent = await serve(t, createTcp((socket) => { socket.once('data', () => socket.end()) }))
  await t.rejects(settled((await clientOf(silent)).ask('GET', '/x', ANY)), { exitCode: 3, message: /closed the connection/ })
})

t.test('a certificate that nobody vouches for gets no token', async (t) => {
  let asked = 0
  const at = await serve(t, createTls(await makeCertificate(['localhost']), (_request, response) => { asked++; response.end('{}') }))
  await t.rejects((await clientOf(`https://${at}`)).ask('GET', '/x', ANY), { exitCode: 3, message: /CERT|SIGNED|VERIFY/ })
  t.equal(asked, 0)
})

t.test('a certificate that cannot be trusted says what to do about it, and that it is not the sidecar that is missing', async (t) => {
  const ca = await makeCa()
  const tls = async (names: string[], ca?: Awaited<ReturnType<typeof makeCa>>) => `https://${await serve(t, createTls(await makeCertificate(names, ca), (_request, response) => { response.end('{}') }))}`
  for (const at of [await tls(['localhost']), await tls(['localhost'], ca)]) {
    const error = await (await clientOf(at)).ask('GET', '/x', ANY).catch((error: unknown) => error) as Error
    t.match(error, { name: 'AdminFailure', exitCode: 3, message: /^the certificate of https:\/\/127\.0\.0\.1:\d+ is not vouched for .*NODE_EXTRA_CA_CERTS \((?:DEPTH|UNABLE)_\w+\)/ })
    t.notMatch(error.message, 'Is it running')
  }
})

t.test('a token that no header can hold is told as such, and where it comes from', async (t) => {
  for (const text of ['a'.repeat(20) + '\u0100', 'a'.repeat(20) + '\u00e9', 'with a space inside']) {
    const error = await (await clientOf('127.0.0.1:1', text)).ask('GET', '/x', ANY).catch((error: unknown) => error) as Error
    t.match(error, { name: 'AdminFailure', exitCode: 1, message: /admin token \(env MCP_VALET_ADMIN_TOKEN\) holds spaces or characters beyond ASCII.*--admin-token-file/ })
    t.notMatch(error.message, text)
  }
})
