import t from 'tap'
import { pause, systemClock } from '../../src/clock.js'
import { manualClock, settled } from '../helpers/manual-clock.js'

t.test('row 18: a delay longer than a timer holds is waited for in parts, and can be cancelled', async (t) => {
  const delays: number[] = []
  const fire: Array<() => void> = []
  t.intercept(globalThis, 'setTimeout', {
    value: (callback: () => void, delay: number) => { delays.push(delay); fire.push(callback); return { unref () {} } },
  })
  let called = 0
  const days = 60 * 86_400_000
  systemClock.after(days, () => { called++ })
  for (let turn = 0; turn < 3; turn++) fire.shift()?.()
  t.equal(called, 1)
  t.equal(delays.reduce((sum, delay) => sum + delay, 0), days)
  t.ok(delays.every((delay) => delay <= 2 ** 31 - 1))
  t.equal(fire.length, 0)
})

t.test('the system clock counts forward', async (t) => {
  const [wall, elapsed] = [systemClock.now(), systemClock.elapsed()]
  await new Promise<void>((resolve) => { systemClock.after(1, resolve); systemClock.after(-1, () => {}); setTimeout(() => {}, 50) })
  t.ok(systemClock.elapsed() > elapsed)
  t.ok(systemClock.now() >= wall)
  const random = systemClock.random()
  t.ok(random >= 0 && random < 1)
  systemClock.after(0, () => t.fail('it was cancelled'))()
  await new Promise((resolve) => setTimeout(resolve, 5))
})

t.test('timers that were cancelled leave nothing behind, whatever their length', async (t) => {
  /** How many lengths of time Node has timers for: it keeps them in a heap, in which the longest is the last. */
  const lengths = (): number => {
    const timer = setTimeout(() => {}, 2 ** 31 - 2) as unknown as { readonly _idlePrev: { readonly priorityQueuePosition: number } }
    const { priorityQueuePosition } = timer._idlePrev
    clearTimeout(timer as unknown as NodeJS.Timeout)
    return priorityQueuePosition
  }
  const before = lengths()
  for (let nth = 0; nth < 1_000; nth++) systemClock.after(600_000 + nth, () => {})()
  t.ok(lengths() - before < 10, `${lengths() - before} more`)
  let fired = 0
  const cancel = await new Promise<() => void>((resolve) => { const cancel = systemClock.after(1, () => { fired++; resolve(cancel) }) })
  cancel()
  t.equal(fired, 1, 'to cancel one that is over does nothing')
})

t.test('a pause ends by time, or by its signal, and leaves nothing behind', async (t) => {
  const clock = manualClock()
  const controller = new AbortController()
  let ended = 0
  for (const signal of [undefined, controller.signal]) void pause(clock, 100, signal).then(() => { ended++ })
  controller.abort()
  await settled()
  t.equal(ended, 1)
  t.equal(clock.timers, 1)
  await clock.advance(100)
  t.equal(ended, 2)
  await pause(clock, 100, controller.signal)
  t.equal(clock.timers, 0)
})
