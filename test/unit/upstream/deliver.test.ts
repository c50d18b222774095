import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { Dispatcher } from 'undici'
import { systemClock } from '../../../src/clock.js'
import { Exchange } from '../../../src/exchange.js'
import { Delivery, type Way } from '../../../src/upstream/deliver.js'
import { eventually, open } from '../../helpers/peers.js'

interface Scene {
  readonly delivery: Delivery
  readonly exchange: Exchange
  readonly raw: ServerResponse
  readonly controller: Dispatcher.DispatchController & { held: boolean }
  readonly told: string[]
  readonly url: string
}

const tick = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))

/** One request that a delivery answers, with an upstream's controller that only remembers. */
async function scene (t: Test, stall: number, ask: (url: string) => void): Promise<Scene> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const asked = once(server, 'request')
  ask(url)
  const [, raw] = await asked as [unknown, ServerResponse]
  const exchange = new Exchange('r', 'POST', 'tools', 0)
  const told: string[] = []
  const way: Way = {
    clock: systemClock,
    base: new URL('http://127.0.0.1/mcp'),
    path: '/tools/mcp',
    stall,
    onStream: (open) => told.push(open ? 'opened' : 'closed'),
    onBroken: () => told.push('broken'),
  }
  const controller = { held: false, pause: () => { controller.held = true }, resume: () => { controller.held = false } } as Scene['controller']
  const delivery = new Delivery(way, { exchange, raw, headers: [], session: { show: (own) => own }, bindEndpoint: (path) => path, onHead: () => told.push('head'), onAnswered: () => told.push('answered') }, () => told.push('failed'))
  return { delivery, exchange, raw, controller, told, url }
}

/** A client that asks and then reads nothing. */
function silent (t: Test): { ask: (url: string) => void, socket: () => Socket } {
  let socket: Socket | undefined
  t.teardown(() => socket?.destroy())
  return {
    ask (url) {
      socket = connect(Number(new URL(url).port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    },
    socket: () => socket as Socket,
  }
}

t.test('row 43: the last of a finished answer may not stay unread for ever', async (t) => {
  const { ask } = silent(t)
  const { delivery, raw, controller } = await scene(t, 100, ask)
  delivery.onResponseStart(controller, 200, {})
  const closed = once(raw, 'close')
  // One piece that is larger than what the system takes in, and the end in the same moment.
  delivery.onResponseData(controller, Buffer.alloc(64 << 20))
  delivery.onResponseEnd()
  t.ok(raw.writableLength > 0, 'much of it waits here')
  await closed
})

t.test('row 43: a reader that comes back in time gets everything', async (t) => {
  const { ask, socket } = silent(t)
  const { delivery, raw, controller, told } = await scene(t, 5_000, ask)
  delivery.onResponseStart(controller, 200, { 'content-type': 'text/event-stream' })
  const block = Buffer.alloc(1 << 20)
  let sent = 0
  while (!controller.held) {
    delivery.onResponseData(controller, block)
    sent += block.length
    await tick()
  }
  let received = 0
  socket().on('data', (chunk) => { received += chunk.length })
  await eventually(() => !controller.held, 'the upstream being read again')
  delivery.onResponseEnd()
  await once(raw, 'close')
  t.ok(raw.writableFinished)
  t.ok(received > 0 && sent > 0)
  t.same(told, ['head', 'opened', 'closed', 'answered'])
})

t.test('row 32: nothing is written for an agent that has gone', async (t) => {
  let request: ReturnType<typeof open>['request'] | undefined
  const { delivery, exchange, controller, told, raw } = await scene(t, 1_000, (url) => { request = open(url).request })
  exchange.gone = true
  request?.destroy()
  delivery.onRequestStart()
  delivery.onResponseStart(controller, 200, {})
  delivery.onResponseData(controller, Buffer.from('x'))
  delivery.onResponseEnd()
  delivery.onResponseError(controller, new Error('late'))
  await tick()
  t.same(told, [])
  t.notOk(raw.headersSent)
})

t.test('row 32: an agent that goes between a piece and its writing is no fault', async (t) => {
  const { delivery, exchange, raw, controller, told } = await scene(t, 1_000, (url) => { open(url) })
  delivery.onResponseStart(controller, 200, {})
  delivery.onResponseData(controller, Buffer.from('x'))
  exchange.gone = true
  raw.destroy()
  await tick()
  t.same(told, ['head'])
  t.equal(exchange.firstByteAt, undefined)
})

t.test('row 31: an upstream that breaks off in the moment of its head sends nothing that looks whole', async (t) => {
  let head: Promise<unknown> | undefined
  const { delivery, exchange, controller, told } = await scene(t, 1_000, (url) => { head = open(url).head })
  delivery.onResponseStart(controller, 200, { 'content-type': 'text/event-stream' })
  delivery.onResponseError(controller, new Error('reset'))
  await t.rejects(head as Promise<unknown>)
  t.same(told, ['head', 'opened', 'closed', 'broken'])
  t.equal(exchange.firstByteAt, undefined)
  t.notOk(controller.held, 'nobody waits for a reader that cannot come')
})

t.test('row 30: a failure before the head is left to whoever words errors', async (t) => {
  const { delivery, raw, controller, told } = await scene(t, 1_000, (url) => { open(url) })
  delivery.onResponseError(controller, new Error('refused'))
  t.same(told, ['failed'])
  t.notOk(raw.destroyed)
})

t.test('row 31: an answer of one moment, and a large one, arrive as they are', async (t) => {
  for (const body of [Buffer.from([0xff, 0x00, 0xc3, 0xa9]), Buffer.alloc(1 << 17, 0xe9)]) {
    let head: ReturnType<typeof open>['head'] | undefined
    const { delivery, controller } = await scene(t, 1_000, (url) => { head = open(url).head })
    delivery.onResponseStart(controller, 200, { 'content-length': String(body.length) })
    delivery.onResponseData(controller, body.subarray(0, 1))
    delivery.onResponseData(controller, body.subarray(1))
    delivery.onResponseEnd()
    const response = await (head as ReturnType<typeof open>['head'])
    const chunks: Buffer[] = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    t.ok(Buffer.concat(chunks).equals(body))
  }
})
