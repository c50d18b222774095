import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { FastifyInstance } from 'fastify'
import { ControlError } from '../../../src/control.js'
import { createApp } from '../../../src/http/server.js'
import { eventText, Watchers, type Look } from '../../../src/http/admin/watchers.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { testClock } from '../../helpers/clock.js'
import { eventually } from '../../helpers/peers.js'

async function serve (t: Test, look: Look, most = 8) {
  const until = new AbortController()
  const events: ValetEvent[] = []
  const watchers = new Watchers({ clock: testClock({ speed: 50 }), emit: (event) => { events.push(event) }, most, until: until.signal })
  const app = createApp() as FastifyInstance
  app.setErrorHandler((error, _request, reply) => { void reply.code(error instanceof ControlError ? error.status : 500).send() })
  app.get('/', async (_request, reply) => { await watchers.serve(reply, look) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    until.abort()
    app.server.closeAllConnections()
    await app.close()
  })
  const { port } = app.server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port, until, events }
}

const watch = async (url: string): Promise<{ status: number, read: () => Promise<string | undefined>, leave: () => Promise<void> }> => {
  const answer = await fetch(url)
  const reader = answer.body?.getReader()
  return {
    status: answer.status,
    read: async () => { const { value } = await reader?.read() ?? {}; return value === undefined ? undefined : Buffer.from(value).toString() },
    leave: async () => { await reader?.cancel() },
  }
}

t.test('each look is written as events, and the end is an end', async (t) => {
  let nth = 0
  const { url, until } = await serve(t, async () => nth++ % 2 === 0 ? eventText('figures', { nth }) : '')
  const watcher = await watch(url)
  let seen = ''
  while (!seen.includes('"nth":3')) seen += await watcher.read()
  t.equal(seen, 'retry: 2000\n\nevent: figures\ndata: {"nth":1}\n\nevent: figures\ndata: {"nth":3}\n\n')
  until.abort()
  let rest: string | undefined
  do rest = await watcher.read(); while (rest !== undefined)
  t.equal(await (await watch(url)).read(), 'retry: 2000\n\n', 'who comes after it goes at once')
})

t.test('no more than so many watch, and who leaves makes room', async (t) => {
  const { url } = await serve(t, async () => eventText('figures', {}), 2)
  const [first, second] = [await watch(url), await watch(url)]
  t.equal((await fetch(url)).status, 503)
  await first.leave()
  await second.leave()
  let status = 0
  for (let tries = 0; tries < 100 && status !== 200; tries++) {
    const watcher = await watch(url)
    status = watcher.status
    await watcher.leave()
  }
  t.equal(status, 200)
})

t.test('who does not read is waited for, then let go, and holds no more than one look', async (t) => {
  let looks = 0
  const look = async (): Promise<string> => { looks++; return eventText('figures', 'x'.repeat(16 * 1024 * 1024)) }
  const { port } = await serve(t, look)
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await eventually(() => looks === 1)
  await new Promise((resolve) => setTimeout(resolve, 450))
  t.equal(looks, 1)
  socket.resume()
  await once(socket, 'close')
})

t.test('who reads late loses nothing', async (t) => {
  let looks = 0
  const { port } = await serve(t, async () => eventText('figures', ++looks === 1 ? 'x'.repeat(16 * 1024 * 1024) : looks))
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await eventually(() => looks === 1)
  let tail = ''
  socket.on('data', (chunk) => { tail = (tail + chunk.toString()).slice(-200) })
  await eventually(() => /data: 3/.test(tail))
})

t.test('a look that fails ends the stream; only a fault is told', async (t) => {
  for (const [error, events] of [[new ControlError('ERR_ADMIN_UNAUTHORIZED'), 0], [new Error('tok_secret'), 1]] as const) {
    const served = await serve(t, async () => { throw error })
    const watcher = await watch(served.url)
    while (await watcher.read() !== undefined);
    t.equal(served.events.length, events)
    t.notMatch(JSON.stringify(served.events), 'tok_secret')
  }
})
