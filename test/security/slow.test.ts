import { once } from 'node:events'
import t, { type Test } from 'tap'
import { call } from '../helpers/call.js'
import { mintToken } from '../helpers/mint.js'
import { connectTo, parseAnswer } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

const LIMITS = { headers: 300, request: 600, check: 50 }

async function start (t: Test, limits: object = LIMITS) {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() }, limits })
  return { upstream, sidecar, key: await sidecar.keyFor('alice') }
}

/** Writes a piece, then one character every now and then for ever; gives back what came until the connection was closed. */
async function drip (url: string, head: string): Promise<string> {
  const socket = await connectTo(url)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  socket.write(head)
  const timer = setInterval(() => socket.write('a'), 20)
  // Not `once`, which rejects where the connection was reset under what is written.
  await new Promise((resolve) => { socket.on('close', resolve) })
  clearInterval(timer)
  return Buffer.concat(chunks).toString('latin1')
}

t.test('row 43: a head that does not come to its end is given up', async (t) => {
  const { sidecar, upstream } = await start(t)
  const answer = parseAnswer(await drip(sidecar.proxyUrl, 'POST /tools/mcp HTTP/1.1\r\nHost: localhost\r\nX-A: '))
  t.equal(answer.status, 408)
  t.match(JSON.parse(answer.body), { jsonrpc: '2.0', error: { data: { code: 'ERR_REQUEST_TIMEOUT' } } })
  t.same(upstream.seen, [])
})

t.test('row 43: a connection on which nothing comes is given up', async (t) => {
  const { sidecar } = await start(t)
  const socket = await connectTo(sidecar.proxyUrl)
  socket.resume()
  await once(socket, 'close')
})

t.test('row 43: a body that does not come to its end is given up, and nothing of it is sent', async (t) => {
  const { sidecar, upstream, key } = await start(t)
  const answer = parseAnswer(await drip(sidecar.proxyUrl, `POST /tools/mcp HTTP/1.1\r\nHost: localhost\r\nX-Session-Key: ${key}\r\nContent-Length: 1000000\r\n\r\n`))
  t.equal(answer.status, 408)
  t.same(upstream.seen, [])
  t.match(await sidecar.until((event) => event.event === 'call'), { outcome: 'aborted' })
})

t.test('row 43: so is a stranger\'s body, which is read for its id only', async (t) => {
  const { sidecar } = await start(t)
  const wire = await drip(sidecar.proxyUrl, 'POST /tools/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n')
  t.equal(parseAnswer(wire).status, 408)
})

t.test('row 43: a stranger with a long body is refused without waiting for it', async (t) => {
  const { sidecar } = await start(t)
  const socket = await connectTo(sidecar.proxyUrl)
  socket.on('error', () => {})
  socket.write('POST /tools/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n')
  const [first] = await once(socket, 'data') as [Buffer]
  t.match(first.toString(), /^HTTP\/1\.1 401 /)
  socket.destroy()
})

t.test('row 43: slow callers do not keep others waiting', async (t) => {
  const { sidecar, key } = await start(t)
  const slow = Array.from({ length: 50 }, async () => await drip(sidecar.proxyUrl, 'POST /tools/mcp HTTP/1.1\r\nX-A: '))
  t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key })).status, 200)
  await Promise.all(slow)
})

t.test('row 43: no more connections than there may be', async (t) => {
  const { sidecar, key } = await start(t, { connections: 3 })
  const sockets = await Promise.all(Array.from({ length: 8 }, async () => await connectTo(sidecar.proxyUrl)))
  const closed = sockets.map(async (socket) => { socket.resume().on('error', () => {}); await once(socket, 'close') })
  let left = sockets.length
  await new Promise<void>((resolve) => {
    for (const one of closed) void one.then(() => { if (--left === 3) resolve() })
  })
  t.equal(sockets.filter((socket) => !socket.closed).length, 3)
  for (const socket of sockets) socket.destroy()
  await Promise.all(closed)
  // The server counts a connection until it has seen its end.
  for (;;) {
    const answer = await call(`${sidecar.proxyUrl}/tools/mcp`, { key }).catch(() => undefined)
    if (answer?.status === 200) break
  }
  t.pass('and there is room again')
})
