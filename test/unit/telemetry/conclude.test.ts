import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { systemClock } from '../../../src/clock.js'
import { ValetError } from '../../../src/errors.js'
import { Exchange } from '../../../src/exchange.js'
import { abandon, answered, fail } from '../../../src/http/conclude.js'
import { readRpc } from '../../../src/http/read-rpc.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'

function scene (method = 'POST'): { exchange: Exchange, reply: FastifyReply & { bodies: string[] }, events: ValetEvent[], telemetry: Parameters<typeof answered>[1] } {
  const events: ValetEvent[] = []
  const bodies: string[] = []
  const reply = { bodies, sent: false, code: () => reply, header: () => reply, send: (body: string) => { bodies.push(body) } } as unknown as FastifyReply & { bodies: string[] }
  return { exchange: new Exchange('r', method, 'tools', 0), reply, events, telemetry: { clock: systemClock, emit: (event) => events.push(event) } }
}

t.test('O4: a fault in here is told with its place, and without what it says', async (t) => {
  const { exchange, reply, events, telemetry } = scene()
  fail(exchange, reply, new ValetError('ERR_INTERNAL', { cause: new TypeError('quotes a secret') }), telemetry)
  t.match(events, [{ event: 'internal_error', request_id: 'r', reason: /^TypeError at / }, { event: 'call', outcome: 'error', status: 500 }])
  t.notMatch(JSON.stringify(events) + reply.bodies.join(''), 'secret')
})

t.test('O4: the reason of a failure is the innermost that is made of known words', async (t) => {
  const known = Object.assign(new Error('m'), { reason: 'HTTP 503' })
  const cases: Array<[unknown, string]> = [
    ['our words', 'our words'], [known, 'HTTP 503'], [new ValetError('ERR_UPSTREAM_TIMEOUT', { cause: 'inner' }), 'inner'],
    [new Error('somebody else\'s'), 'no further reason'], [undefined, 'no further reason'], [Object.assign(new Error('m'), { reason: 1 }), 'no further reason'],
  ]
  for (const [cause, reason] of cases) {
    const { exchange, reply, events, telemetry } = scene()
    fail(exchange, reply, new ValetError('ERR_UPSTREAM_UNREACHABLE', { cause }), telemetry)
    t.match(events[0], { event: 'failed', reason })
  }
})

t.test('O2: a call is counted once, whatever else is said of it', async (t) => {
  const { exchange, reply, events, telemetry } = scene()
  answered(exchange, telemetry)
  abandon(exchange, telemetry, true)
  abandon(exchange, telemetry, false)
  fail(exchange, reply, new ValetError('ERR_UPSTREAM_TIMEOUT'), telemetry)
  t.match(events, [{ event: 'call', outcome: 'ok' }])
  t.equal(events.length, 1)
  t.same(reply.bodies, [], 'and an agent that has gone is told nothing')
})

t.test('O2: how a call ended that did not come to its end', async (t) => {
  const ended = (method: string, set: Partial<Exchange>): unknown => {
    const { exchange, events, telemetry } = scene(method)
    Object.assign(exchange, set)
    abandon(exchange, telemetry, false)
    return (events[0] as { outcome: string }).outcome
  }
  t.equal(ended('POST', {}), 'aborted')
  t.equal(ended('POST', { firstByteAt: 1 }), 'aborted')
  t.equal(ended('GET', {}), 'aborted')
  t.equal(ended('GET', { firstByteAt: 1 }), 'ok', 'listening ends with the listener')
  t.equal(ended('GET', { firstByteAt: 1, attempt: 2 }), 'replayed')
  t.equal(ended('POST', { firstByteAt: 1, code: 'ERR_UPSTREAM_UNREACHABLE' }), 'broken')
})

t.test('P1: only a small body of known length is read for a refusal\'s id', async (t) => {
  const read = async (body: string, length: string | undefined): Promise<unknown> => {
    const request = Object.assign(new PassThrough(), { headers: { 'content-length': length } })
    request.end(body)
    return (await readRpc(request as never)).id
  }
  const body = '{"id":7,"method":"ping"}'
  t.equal(await read(body, String(body.length)), 7)
  for (const length of [undefined, '0', '-1', 'x', '16385']) t.equal(await read(body, length), null)
})

t.test('P1: a body that breaks off is no body', async (t) => {
  const request = Object.assign(new PassThrough(), { headers: { 'content-length': '10' } })
  const read = readRpc(request as never)
  request.write('{"id":')
  request.destroy(new Error('reset'))
  await once(request, 'close').catch(() => {})
  t.same(await read, { id: null, method: 'none', tool: undefined })
})
