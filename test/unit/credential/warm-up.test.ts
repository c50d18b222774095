import { getEventListeners } from 'node:events'
import t from 'tap'
import type { Provider } from '../../../src/credential/provider.js'
import { warmUp } from '../../../src/credential/warm-up.js'
import { manualClock } from '../../helpers/manual-clock.js'
import { door } from '../../helpers/peers.js'

const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))

t.test('an issuer is asked for a few at a time, and for more where it owes its answers; another one is asked beside it', async (t) => {
  const clock = manualClock()
  const { opened, open } = door()
  const asked: string[] = []
  const provider = (asks: string, answer: Promise<void>) => ({ asks, warm: async () => { asked.push(asks); await answer } }) as unknown as Provider
  const closed = new AbortController()
  const slow = Array.from({ length: 30 }, () => provider('slow', opened))
  const quick = Array.from({ length: 30 }, () => provider('quick', Promise.resolve()))
  const done = warmUp([...slow, ...quick], clock, closed.signal)
  await turn()
  const counts = (): number[] => ['slow', 'quick'].map((issuer) => asked.filter((each) => each === issuer).length)
  t.same(counts(), [8, 30])
  await clock.advance(1_000)
  await turn()
  t.same(counts(), [16, 30])
  open()
  await done
  t.same(counts(), [30, 30])
  t.equal(clock.timers, 0)
  t.same(getEventListeners(closed.signal, 'abort'), [])
})

t.test('nobody else is asked once it has been closed, and the signal keeps nothing of what was', async (t) => {
  const clock = manualClock()
  let asked = 0
  const provider = { asks: 'issuer', warm: async () => { asked++; await new Promise(() => {}) } } as unknown as Provider
  const closed = new AbortController()
  const done = warmUp(Array.from({ length: 30 }, () => provider), clock, closed.signal)
  await turn()
  const dependants = Object.getOwnPropertySymbols(closed.signal).find(({ description }) => description === 'kDependantSignals')
  const kept = dependants === undefined ? 0 : (closed.signal as unknown as Record<symbol, { readonly size: number } | undefined>)[dependants]?.size ?? 0
  t.equal(kept, 0, 'as AbortSignal.any would have it do in Node 20')
  closed.abort()
  await done
  t.equal(asked, 8)
  t.equal(clock.timers, 0)
})
