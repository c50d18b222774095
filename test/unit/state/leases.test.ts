import t, { type Test } from 'tap'
import { Leases, type Claim } from '../../../src/state/leases.js'
import { LeaseLostError } from '../../../src/state/store.js'
import { manualClock, settled, type ManualClock } from '../../helpers/manual-clock.js'
import { gate } from '../../helpers/tokens.js'

/** A medium whose answers the test gives; by default all goes well. */
function medium (answers: { take?: Array<true | number | Error>, renew?: Array<boolean | Error>, release?: Error } = {}) {
  const asked: string[] = []
  const next = async <T>(what: string, queue: Array<T | Error> | undefined, otherwise: T): Promise<T> => {
    asked.push(what)
    const answer = queue === undefined || queue.length === 0 ? otherwise : queue.shift() as T | Error
    if (answer instanceof Error) throw answer
    return answer
  }
  const claim: Claim = {
    take: async () => await next<true | number>('take', answers.take, true),
    renew: async () => await next('renew', answers.renew, true),
    release: async () => await next<void>('release', answers.release === undefined ? undefined : [answers.release], undefined),
  }
  return { claim, asked }
}

function leasesOf (clock: ManualClock, claim: Claim): Leases<Claim> {
  return new Leases(() => claim, { clock, leaseMs: 900, waitMs: 3_000 })
}

/** A lease that is held until `free` is called. */
async function holding (t: Test, answers: Parameters<typeof medium>[0] = {}) {
  const clock = manualClock()
  const { claim, asked } = medium(answers)
  const leases = leasesOf(clock, claim)
  const [taken, freed] = [gate(), gate()]
  let lease: Parameters<Parameters<typeof leases.run>[1]>[0] | undefined
  const work = leases.run('k', async (held) => {
    lease = held
    taken.open()
    await freed.opened
    return 'done'
  })
  await taken.opened
  t.teardown(async () => {
    freed.open()
    await work
  })
  return { clock, asked, leases, work, free: freed.open, lease: lease as NonNullable<typeof lease> }
}

t.test('a lease gives signs of life a third of its time apart, for as long as its work goes on', async (t) => {
  const { clock, asked, work, free, lease } = await holding(t)
  await clock.advance(3_000)
  t.ok(lease.held())
  t.equal(asked.filter((what) => what === 'renew').length, 10)
  free()
  t.equal(await work, 'done')
  t.equal(asked.at(-1), 'release')
  t.notOk(lease.held(), 'over with its work')
  await clock.advance(3_000)
  t.equal(asked.at(-1), 'release', 'and no sign of life after it')
  t.equal(clock.timers, 0)
  t.notOk(lease.lost.aborted, 'it was given back, not lost')
})

t.test('a lease whose process was stopped is not held by the clock, before any timer has told so, and for good', async (t) => {
  const { clock, lease } = await holding(t)
  // What stops a process stops its timers, and not the time.
  const stopped = { ...clock }
  Object.assign(clock, { elapsed: () => stopped.elapsed() + 900 })
  t.notOk(lease.held())
  t.ok(lease.lost.aborted)
  t.match(lease.lost.reason, { name: 'LeaseLostError', message: /the lease on k was lost/ })
  Object.assign(clock, { elapsed: stopped.elapsed })
  t.notOk(lease.held(), 'whoever was told that it is lost may have stopped half-way')
})

t.test('a lease that somebody else has is lost at the next sign of life', async (t) => {
  const { clock, lease, asked } = await holding(t, { renew: [true, false] })
  await clock.advance(300)
  t.ok(lease.held())
  await clock.advance(300)
  t.notOk(lease.held())
  t.ok(lease.lost.aborted)
  await clock.advance(3_000)
  t.equal(asked.filter((what) => what === 'renew').length, 2, 'no further ones')
})

t.test('a medium that fails for a while loses no lease, and one that fails for longer does', async (t) => {
  const away = new Error('away')
  const { clock, lease } = await holding(t, { renew: [away, true, away, away, away, away] })
  await clock.advance(899)
  t.ok(lease.held())
  await clock.advance(600)
  t.ok(lease.held(), 'renewed in between')
  await clock.advance(1)
  t.ok(lease.lost.aborted, 'told by the clock')
  t.notOk(lease.held())
})

t.test('a lease that cannot be given back harms nobody', async (t) => {
  const clock = manualClock()
  const { claim } = medium({ release: new Error('away') })
  t.equal(await leasesOf(clock, claim).run('k', async () => 1), 1)
})

t.test('who waits tries again as the medium says, at once when it is free, and not for ever', async (t) => {
  const clock = manualClock()
  const { claim, asked } = medium({ take: [100, 5_000, true] })
  const leases = leasesOf(clock, claim)
  const had = leases.run('k', async () => 'had')
  await settled()
  await clock.advance(99)
  t.equal(asked.length, 1)
  await clock.advance(1)
  t.equal(asked.length, 2)
  leases.wake('k')
  leases.wake('nobody waits for this one')
  t.equal(await had, 'had')

  const never = leasesOf(clock, medium({ take: Array.from({ length: 100 }, () => 1_000) }).claim).run('k', async () => 'had')
  const refused = t.rejects(never, { name: 'StateError', message: 'the lease on k was not to be had within 3 s: other work on it goes on for longer, here or in another process that shares the state. One that has died holds it for 0.9 s at most' })
  for (let i = 0; i < 4; i++) await clock.advance(1_000)
  await refused
})

t.test('a medium that fails is told, and the next one in line has its turn', async (t) => {
  const clock = manualClock()
  const leases = leasesOf(clock, medium({ take: [new Error('away'), true] }).claim)
  const [first, second] = [leases.run('k', async () => 1), leases.run('k', async () => 2)]
  await t.rejects(first, /^away$/)
  t.equal(await second, 2)
})

t.test('when it is closed whoever waits is refused, and no work begins', async (t) => {
  const clock = manualClock()
  const leases = leasesOf(clock, medium({ take: [5_000, true, true] }).claim)
  const waits = leases.run('k', async () => 'had')
  await settled()
  const refused = t.rejects(waits, { name: 'StateError', message: 'the state store is closed' })
  leases.close()
  await refused
  await t.rejects(leases.run('other', async () => 'had'), /closed/)
  t.equal(clock.timers, 0)
})

t.test('a lease of somebody else opens nothing here', async (t) => {
  const { leases, lease } = await holding(t)
  t.ok(leases.claimOf('k', lease))
  t.throws(() => leases.claimOf('k', { lost: new AbortController().signal, held: () => true }), LeaseLostError)
})
