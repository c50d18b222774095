import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { systemClock } from '../../../src/clock.js'
import { Exchange } from '../../../src/exchange.js'
import { OpenCalls } from '../../../src/http/open-calls.js'

const generation = {}
const made = (method = 'POST'): Exchange => new Exchange('r', method, 'tools', 0)
const reply = { raw: {} } as FastifyReply

function openCalls (): OpenCalls {
  return new OpenCalls({ clock: systemClock, emit: () => {} })
}

t.test('calls end in any order, each once', async (t) => {
  const calls = openCalls()
  const [a, b, c, d] = [made(), made('GET'), made(), made()] as const
  for (const exchange of [a, b, c]) calls.begin(exchange, reply, generation)
  t.same(calls.underWay, { plain: 2, streams: 1 })
  calls.done(a)
  calls.done(a)
  calls.done(d)
  t.same(calls.underWay, { plain: 1, streams: 1 })
  let settled = false
  const waiting = calls.settled(generation).then(() => { settled = true })
  calls.begin(d, reply, generation)
  calls.done(c)
  calls.done(b)
  await new Promise(setImmediate)
  t.notOk(settled, 'one is left')
  calls.done(d)
  await waiting
  t.same(calls.underWay, { plain: 0, streams: 0 })
})

t.test('no call that is over keeps the next ones alive', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: { type: 'minor' }) => void
  const calls = openCalls()
  const ring = Array.from({ length: 16 }, () => made())
  for (const exchange of ring) calls.begin(exchange, reply, generation)
  // A moment without calls: what there is grows old.
  for (let nth = 0; nth < 3; nth++) collect({ type: 'minor' })
  const round = (): void => {
    for (let nth = 0; nth < 500; nth++) {
      calls.done(ring[nth % 16] as Exchange)
      calls.begin(ring[nth % 16] = made(), reply, generation)
    }
    collect({ type: 'minor' })
  }
  for (let nth = 0; nth < 20; nth++) round()
  const before = process.memoryUsage().heapUsed
  // What is young and is reached from something that is old stays until a full collection, though both be dead.
  for (let nth = 0; nth < 40; nth++) round()
  const kept = (process.memoryUsage().heapUsed - before) / 20_000
  t.ok(kept < 50, `${Math.round(kept)} bytes a call are kept`)
})
