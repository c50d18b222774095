import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcp, type AddressInfo } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { health } from '../../../src/cli/health.js'
import { createPalette } from '../../../src/cli/terminal.js'

async function ask (options: { config?: string, isNamed?: boolean, adminUrl?: string, live?: boolean }) {
  let [out, err] = ['', '']
  const terminal = { out: (text: string) => { out += text }, err: (text: string) => { err += text }, isTerminal: false, palette: createPalette(false) }
  const code = await health({ config: '/nonexistent/valet.yaml', ...options }, terminal)
  return { code, out, err }
}

async function folder (t: Test): Promise<string> {
  // Not in the test's own folder, whose path is too long for a socket.
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => await rm(dir, { recursive: true }))
  return dir
}

async function serve (t: Test, answer: RequestListener, path?: string): Promise<string> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => path === undefined ? server.listen(0, '127.0.0.1', resolve) : server.listen(path, resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  return path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`
}

const saying = (status: number, body: object | string): RequestListener => (_request, response) => {
  response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
}

t.test('ready: 0, asked without a token', async (t) => {
  const seen: unknown[] = []
  const adminUrl = await serve(t, ({ url, method, headers }, response) => {
    seen.push([method, url, headers.authorization])
    response.end(JSON.stringify({ status: url === '/healthz' ? 'ok' : 'ready', reasons: [] }))
  })
  t.same(await ask({ adminUrl }), { code: 0, out: 'ready\n', err: '' })
  t.same(await ask({ adminUrl, live: true }), { code: 0, out: 'ok\n', err: '' })
  t.same(seen, [['GET', '/readyz', undefined], ['GET', '/healthz', undefined]])
})

t.test('not ready: 1, with the reasons made fit for a terminal', async (t) => {
  const adminUrl = await serve(t, saying(503, { status: 'unready', reasons: ['stopping', 'a\u001b[2J'] }))
  t.same(await ask({ adminUrl }), { code: 1, out: '', err: 'error: not ready: stopping, a\\u{1b}[2J\n' })
})

t.test('a stranger: 1', async (t) => {
  for (const [status, body] of [[200, 'It works!'], [200, { status: 'ok' }], [200, '[]'], [404, ''], [503, { status: 'unready' }], [500, { status: 'ready' }]] as const) {
    const { code, err } = await ask({ adminUrl: await serve(t, saying(status, body)) })
    t.equal(code, 1)
    t.match(err, `is not the admin listener of mcp-valet (HTTP ${status})`)
  }
})

t.test('nobody: 3, and where it was looked for', async (t) => {
  const { code, err } = await ask({ adminUrl: '127.0.0.1:1' })
  t.equal(code, 3)
  t.match(err, 'http://127.0.0.1:1')
})

t.test('the config says where: a port, every address, a unix socket', async (t) => {
  const dir = await folder(t)
  const config = join(dir, 'valet.yaml')
  const port = (await serve(t, saying(200, { status: 'ready' }))).split(':')[1] as string
  const socket = await serve(t, saying(200, { status: 'ready' }), join(dir, 's'))
  for (const listen of [`127.0.0.1:${port}`, `0.0.0.0:${port}`, `localhost:${port}`, socket]) {
    // Nothing but this line has to be right: a config that was spoilt while the sidecar runs does not make it ill.
    await writeFile(config, `admin: { listen: "${listen}" }\nupstreamz: 7\n`)
    t.match(await ask({ config }), { code: 0 }, listen)
  }
  await writeFile(config, 'admin: { listen: "127.0.0.1:0" }\n')
  t.match(await ask({ config }), { code: 1, err: /port 0.*--admin-url/ })
})

t.test('a config with a mistake in it still says where, as far as it can be read', async (t) => {
  const config = join(await folder(t), 'valet.yaml')
  const at = await serve(t, saying(200, { status: 'ready' }))
  for (const spoilt of ['upstreams: [\n', 'upstreams: { tools: { url: "x" }\n', '\tx: 1\n', 'upstreams: !x\n  a: *none\n', 'a: 1\na: 2\n', 'x: "\\q"\n', 'b: c: d\n']) {
    await writeFile(config, `admin:\n  listen: ${at}\n${spoilt}`)
    t.same(await ask({ config }), { code: 0, out: 'ready\n', err: '' }, spoilt)
  }
})

t.test('where even that cannot be read, it says that the default was asked', async (t) => {
  const config = join(await folder(t), 'valet.yaml')
  for (const text of ['}{', 'admin: [\n', 'admin: { listen: nowhere }\n', 'x'.repeat(1024 * 1024 + 1), '['.repeat(200), undefined]) {
    await rm(config, { force: true })
    if (text !== undefined) await writeFile(config, text)
    t.match((await ask({ config })).err, /^warning: the config could not be read, so the default was asked: 127\.0\.0\.1:8402\n/, String(text).slice(0, 30))
  }
  await writeFile(config, 'admin: {}\n')
  t.notMatch((await ask({ config })).err, 'could not be read', 'here the default is what is meant')
})

t.test('a file that is named and not there is told, and nobody is asked', async (t) => {
  const dir = await folder(t)
  t.match(await ask({ config: join(dir, 'none.yaml'), isNamed: true }), { code: 1, out: '', err: /^error: .*none\.yaml is not there, .*--admin-url/ })
  t.match(await ask({ config: dir, isNamed: true }), { code: 1, out: '', err: /cannot be read \(EISDIR\)/ })
})

t.test('a config that cannot be read leaves the default', async (t) => {
  const dir = await folder(t)
  const config = join(dir, 'valet.yaml')
  for (const text of ['admin: [\n', 'admin: { listen: nowhere }\n', '{}\n', undefined]) {
    await rm(config, { force: true })
    if (text !== undefined) await writeFile(config, text)
    const asked: string[] = []
    const { health: mocked } = await t.mockImport<typeof import('../../../src/cli/health.js')>('../../../src/cli/health.js', {
      '../../../src/cli/admin-client.js': { AdminClient: class { probe = async () => ({ status: 200, said: { status: 'ready' } }); name: string; constructor ({ name }: { name: string }) { asked.push(name); this.name = name } } },
    })
    await mocked({ config }, { out: () => {}, err: () => {}, isTerminal: false, palette: createPalette(false) })
    t.same(asked, ['http://127.0.0.1:8402'], String(text))
  }
})

t.test('an address that is none is refused, and a fault is not taken for an answer', async (t) => {
  t.match(await ask({ adminUrl: 'x' }), { code: 1, err: /--admin-url/ })
  const { health: mocked } = await t.mockImport<typeof import('../../../src/cli/health.js')>('../../../src/cli/health.js', {
    '../../../src/cli/admin-client.js': { AdminClient: class { async probe () { throw new TypeError('a fault') } } },
  })
  await t.rejects(mocked({ config: '', adminUrl: '127.0.0.1:1' }, { out: () => {}, err: () => {}, isTerminal: false, palette: createPalette(false) }), TypeError)
})

t.test('who would speak another protocol is a stranger', async (t) => {
  const server = createTcp((socket) => {
    socket.on('error', () => {}).once('data', () => socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close() })
  const asked = ask({ adminUrl: `127.0.0.1:${(server.address() as AddressInfo).port}` })
  t.match(await Promise.race([asked, sleep(5_000, undefined, { ref: false })]), { code: 1, err: /is not the admin listener of mcp-valet \(HTTP 101\)/ })
})
