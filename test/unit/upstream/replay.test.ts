import t, { type Test } from 'tap'
import type { Dispatcher } from 'undici'
import { systemClock, type Clock } from '../../../src/clock.js'
import { Credential, type CredentialSource } from '../../../src/credential/credential.js'
import { ValetError } from '../../../src/errors.js'
import { Exchange } from '../../../src/exchange.js'
import { Secret } from '../../../src/secret.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { replay } from '../../../src/upstream/replay.js'
import { manualClock } from '../../helpers/manual-clock.js'
import { door, freshToken } from '../../helpers/peers.js'

type Handler = Required<Pick<Dispatcher.DispatchHandler, 'onRequestStart' | 'onResponseStart' | 'onResponseData' | 'onResponseEnd' | 'onResponseError'>>
type Controller = Dispatcher.DispatchController

const policy = { refreshOn: new Set([401, 403]), refreshOnAnswer: [{ error: { code: -32001 } }], replays: 2, backoff: { baseMs: 1, maxMs: 1 }, deadlineMs: 5_000, anonymous: new Set<'refresh_failed'>() }
const credential = (generation: number): Credential => new Credential(new Secret(freshToken()), generation, 0, undefined)

interface Scene {
  readonly exchange: Exchange
  readonly events: ValetEvent[]
  readonly told: unknown[]
  /** The attempts that were dispatched, each with a controller that remembers what was asked of it. */
  readonly attempts: Array<{ handler: Handler, controller: Controller & { asked: string[] } }>
}

function scene (renew: CredentialSource['renew'], downstream: Partial<Handler> = {}, clock: Clock = systemClock): Scene {
  const exchange = new Exchange('r', 'POST', 'tools', 0)
  exchange.credential = credential(1)
  exchange.source = { current: () => undefined, usable: async () => credential(1), renew, accepted: () => {}, firstDenial: () => true, worthRenewing: () => true }
  const events: ValetEvent[] = []
  const told: unknown[] = []
  const attempts: Scene['attempts'] = []
  const handler = {
    onRequestStart: () => {},
    onResponseStart: (_controller: Controller, status: number) => { told.push(status) },
    onResponseData: (_controller: Controller, chunk: Buffer) => { told.push(String(chunk)) },
    onResponseEnd: () => { told.push('end') },
    onResponseError: (_controller: Controller, error: Error) => { told.push(error) },
    ...downstream,
  }
  const dispatch = (_options: unknown, handler: Dispatcher.DispatchHandler): boolean => {
    const asked: string[] = []
    const controller = { asked, pause: () => asked.push('pause'), resume: () => asked.push('resume'), abort: () => asked.push('abort') } as unknown as Scene['attempts'][0]['controller']
    attempts.push({ handler: handler as Handler, controller })
    handler.onRequestStart?.(controller, {})
    return true
  }
  replay(policy, clock, (event) => events.push(event))(dispatch as never)({ exchange, headers: [] } as never, handler as never)
  return { exchange, events, told, attempts }
}

const turn = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve, 5))
const answer = ({ attempts }: Scene, which: number, status: number): void => {
  const { handler, controller } = attempts[which] as Scene['attempts'][0]
  handler.onResponseStart(controller, status, {} as never, '')
}

t.test('row 23: a refused answer is held until there is a better credential, and nothing of it is told', async (t) => {
  const gate = door()
  const play = scene(async () => { await gate.opened; return credential(2) })
  answer(play, 0, 401)
  t.same(play.attempts[0]?.controller.asked, ['pause'])
  await turn()
  t.same([play.attempts.length, play.told], [1, []])
  gate.open()
  await turn()
  t.equal(play.attempts.length, 2)
  answer(play, 1, 200)
  play.attempts[1]?.handler.onResponseEnd(play.attempts[1].controller, {})
  t.same(play.told, [200, 'end'])
})

t.test('row 24: a fault while a held answer is let through fails this call, and no other', async (t) => {
  const play = scene(async (refused) => refused, { onResponseStart: () => { throw new TypeError('a fault') } })
  answer(play, 0, 403)
  await turn()
  t.match(play.told, [{ code: 'ERR_INTERNAL', cause: { name: 'TypeError' } }])
  t.ok(play.told[0] instanceof ValetError)
})

t.test('row 24: nothing that an attempt reports late is told twice', async (t) => {
  const play = scene(async () => credential(2))
  answer(play, 0, 401)
  await turn()
  const first = play.attempts[0] as Scene['attempts'][0]
  first.handler.onResponseData(first.controller, Buffer.from('old'))
  first.handler.onResponseEnd(first.controller, {})
  first.handler.onResponseError(first.controller, new Error('late'))
  answer(play, 1, 200)
  t.same(play.told, [200])
})

t.test('row 33: a refused answer is read on while it is short, and cut where it is not', async (t) => {
  const play = scene(async () => credential(2))
  answer(play, 0, 401)
  await turn()
  const { handler, controller } = play.attempts[0] as Scene['attempts'][0]
  t.same(controller.asked, ['pause', 'resume'])
  handler.onResponseData(controller, Buffer.alloc(64 * 1024))
  t.same(controller.asked, ['pause', 'resume'])
  handler.onResponseData(controller, Buffer.alloc(1))
  t.same(controller.asked, ['pause', 'resume', 'abort'])
})

t.test('row 32: an agent that leaves while a renewal is awaited aborts what is held, and nothing more is sent', async (t) => {
  for (const renew of [async () => credential(2), async () => { throw new ValetError('ERR_CREDENTIAL_UNAVAILABLE') }]) {
    const gate = door()
    const play = scene(async () => { await gate.opened; return await renew() })
    answer(play, 0, 401)
    play.exchange.gone = true
    play.exchange.abort?.(new Error('gone'))
    t.ok(play.attempts[0]?.controller.asked.includes('abort'))
    gate.open()
    await turn()
    t.same([play.attempts.length, play.told], [1, []])
  }
})

t.test('row 32: an agent that has left before the connection is there has its attempt aborted', async (t: Test) => {
  const play = scene(async () => credential(2))
  play.exchange.gone = true
  const again = play.attempts[0] as Scene['attempts'][0]
  again.handler.onRequestStart(again.controller, {})
  t.same(again.controller.asked, ['abort'])
})

t.test('row 32: abort after the end asks nothing of a connection that belongs to the next call', async (t) => {
  const play = scene(async () => credential(2))
  answer(play, 0, 200)
  play.attempts[0]?.handler.onResponseEnd(play.attempts[0].controller, {})
  play.exchange.abort?.(new Error('gone'))
  t.same(play.attempts[0]?.controller.asked, [])
})

t.test('row 30: a failure without an answer is told once, whether it came before a connection or after', async (t) => {
  const play = scene(async () => credential(2))
  const error = new Error('refused')
  play.attempts[0]?.handler.onResponseError(undefined as never, error)
  t.same(play.told, [error])
  t.equal(play.attempts.length, 1)
})

const REFUSAL = Buffer.from('{"id":1,"error":{"code":-32001}}')

/** The first answer begins, as an event stream or as JSON, to a call whose answer is looked into. */
function begun (play: Scene, type: string): Scene['attempts'][0] {
  play.exchange.rpc = { id: 1, method: 'tools/call', tool: undefined }
  const attempt = play.attempts[0] as Scene['attempts'][0]
  attempt.handler.onResponseStart(attempt.controller, 200, { 'content-type': type } as never, '')
  return attempt
}

t.test('F2: an answer that ended before it was known to be a refusal is not paused, and given back whole', async (t) => {
  const play = scene(async (refused) => refused)
  const { handler, controller } = begun(play, 'application/json')
  handler.onResponseData(controller, REFUSAL.subarray(0, 9))
  handler.onResponseData(controller, REFUSAL.subarray(9))
  t.same(play.told, [])
  handler.onResponseEnd(controller, {})
  await turn()
  t.same(play.told, [200, String(REFUSAL.subarray(0, 9)), String(REFUSAL.subarray(9)), 'end'])
  t.same(controller.asked, [], 'the connection is the next call\'s')
})

t.test('F2: a fault while a kept beginning is let through, also by its timer, fails this call and no other', async (t) => {
  const clock = manualClock()
  for (const byTimer of [true, false]) {
    const play = scene(async () => credential(2), { onResponseStart: () => { throw new TypeError('a fault') } }, clock)
    const { handler, controller } = begun(play, 'text/event-stream')
    if (byTimer) await clock.advance(5_000)
    else handler.onResponseData(controller, Buffer.from('data: x\n\n'))
    t.match(play.told, [{ code: 'ERR_INTERNAL', cause: { name: 'TypeError' } }])
    handler.onResponseEnd(controller, {})
  }
  t.equal(clock.timers, 0)
})

t.test('row 32: an agent that has left gets nothing of a stream that breaks while its beginning is kept', async (t) => {
  const play = scene(async () => credential(2))
  const { handler, controller } = begun(play, 'text/event-stream')
  handler.onResponseData(controller, Buffer.from('id: 1\ndata:\n\n'))
  play.exchange.gone = true
  handler.onResponseError(controller, new Error('broken'))
  await turn()
  t.match(play.told, [{ message: 'broken' }])
})

t.test('row 31: 1xx is no answer', async (t) => {
  const play = scene(async () => credential(2))
  answer(play, 0, 103)
  t.same([play.told, play.exchange.upstreamWaits], [[], []])
})
