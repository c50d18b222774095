import t from 'tap'
import type { Dispatcher } from 'undici'
import { systemClock } from '../../../src/clock.js'
import { ValetError } from '../../../src/errors.js'
import { Exchange } from '../../../src/exchange.js'
import type { Delivery } from '../../../src/upstream/deliver.js'
import { Screen } from '../../../src/upstream/screen.js'
import { manualClock } from '../../helpers/manual-clock.js'
import { bytesHeld } from '../../helpers/memory.js'
import { listOf } from '../../helpers/tool-server.js'

const JSON_TYPE = { 'content-type': 'application/json' }
const SSE = { 'content-type': 'text/event-stream' }

/** A screen before a delivery that only writes down what it is told. */
function scene (allows: (tool: string) => boolean = (tool) => tool !== 'admin', clock = systemClock) {
  const told: unknown[] = []
  const delivery = {
    onResponseStart: (_: unknown, status: number, headers: object) => told.push([status, headers]),
    onResponseData: (_: unknown, chunk: Buffer) => told.push(chunk.toString()),
    onResponseEnd: () => told.push('end'),
    onResponseError: (_: unknown, error: Error) => told.push(error),
  } as unknown as Delivery
  const exchange = new Exchange('r', 'POST', 'tools', 0)
  const controller = { abort: (reason: Error) => { told.push('aborted'); screen.onResponseError(controller, reason) } } as unknown as Dispatcher.DispatchController
  const screen: Screen = new Screen(delivery, exchange, { allows }, clock)
  screen.onRequestStart()
  return { told, exchange, controller, screen }
}

t.test('T1: a fault of ours is told as one, ends the call and lets nothing by', async (t) => {
  const fault = new TypeError('quotes what an upstream sent')
  for (const [headers, began] of [[JSON_TYPE, 0], [SSE, 1]] as const) {
    const { told, controller, screen } = scene(() => { throw fault })
    screen.onResponseStart(controller, 200, headers)
    screen.onResponseData(controller, Buffer.from(headers === SSE ? `data: ${listOf(['add'])}\n\n` : listOf(['add'])))
    screen.onResponseEnd(controller)
    screen.onResponseData(controller, Buffer.from('more'))
    t.equal(told.length, began + 2)
    t.match(told[began], { code: 'ERR_INTERNAL', cause: fault })
    t.type(told[began], ValetError)
    t.equal(told[began + 1], 'aborted')
  }
})

t.test('T1: an answer that breaks off is told as broken off, once', async (t) => {
  const { told, controller, screen } = scene()
  screen.onResponseStart(controller, 200, JSON_TYPE)
  screen.onResponseData(controller, Buffer.from('{"result":'))
  screen.onResponseError(controller, new Error('reset'))
  t.match(told, [{ message: 'reset' }])
})

t.test('O1: the time in which an answer arrives that must be read whole is the upstream\'s', async (t) => {
  const clock = manualClock()
  const { told, exchange, controller, screen } = scene(undefined, clock)
  await clock.advance(10)
  exchange.upstreamWaits.push(10)
  screen.onResponseStart(controller, 200, JSON_TYPE)
  await clock.advance(700)
  screen.onResponseData(controller, Buffer.from(listOf(['add', 'admin'])))
  screen.onResponseEnd(controller)
  exchange.firstByteAt = clock.elapsed()
  t.equal(exchange.holding, 700)
  t.equal(exchange.overhead(), 0)
  t.match(told, [[200, { 'content-length': String(listOf(['add']).length) }], listOf(['add']), 'end'])
})

t.test('row 43: an answer that comes byte by byte takes no more room than its bytes, a few times over', async (t) => {
  const text = listOf(['add', 'admin'], 1, { _meta: { long: 'x'.repeat(100_000) } })
  const { told, controller, screen } = scene()
  screen.onResponseStart(controller, 200, JSON_TYPE)
  const before = bytesHeld()
  for (const byte of Buffer.from(text)) screen.onResponseData(controller, Buffer.from([byte]))
  const held = bytesHeld() - before
  t.ok(held < 10 * text.length, `${held} bytes are held for ${text.length}`)
  screen.onResponseEnd(controller)
  t.equal(told[1], listOf(['add'], 1, { _meta: { long: 'x'.repeat(100_000) } }))
})
