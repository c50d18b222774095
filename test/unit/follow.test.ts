import t, { type Test } from 'tap'
import { follow } from '../../src/follow.js'
import { manualClock } from '../helpers/manual-clock.js'

type Parts = Parameters<ReturnType<typeof follow>['begin']>[0]

/** What follows, with records that cannot be read as long as they are in `broken`. */
function following (t: Test) {
  const clock = manualClock()
  const broken = new Set<string>()
  const tried: string[] = []
  const told: string[] = []
  let hear = (_name: string | undefined): void => {}
  const following = follow({ watch (listener: typeof hear) { hear = listener; return () => {} } } as never, clock)
  t.teardown(() => following.stop())
  const notice = async (name: string): Promise<void> => {
    tried.push(name)
    if (broken.has(name)) throw new Error(`the record ${name} cannot be read`)
  }
  const all = async (): Promise<void> => { await notice('all') }
  following.begin({
    sessions: { notice, noticeAll: async () => {} } as unknown as Parts['sessions'],
    principals: { notice, noticeAll: all } as unknown as Parts['principals'],
    pepper: { uphold: async () => true } as unknown as Parts['pepper'],
    emit: (event) => { if (event.event === 'warning') told.push(event.reason) },
    taken: () => {},
  })
  return { clock, broken, tried, told, hear: (name: string | undefined) => hear(name) }
}

const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve))

t.test('what cannot be read is tried again, later each time, and told once', async (t) => {
  const { clock, broken, tried, told, hear } = following(t)
  broken.add('session/a')
  hear('session/a')
  await turn()
  for (const wait of [1_000, 2_000, 4_000]) {
    const before = tried.length
    await clock.advance(wait - 1)
    t.equal(tried.length, before)
    await clock.advance(1)
    await turn()
    t.equal(tried.length, before + 1)
  }
  broken.clear()
  await clock.advance(8_000)
  await turn()
  t.same(told, ['the record session/a cannot be read'])
  t.equal(clock.timers, 0)
})

t.test('a record that never opens holds no other up', async (t) => {
  const { clock, broken, tried, told, hear } = following(t)
  broken.add('session/broken')
  hear('session/broken')
  await turn()
  for (let i = 0; i < 8; i++) { await clock.advance(60_000); await turn() }
  broken.add('session/revoked')
  hear('session/revoked')
  await turn()
  broken.delete('session/revoked')
  tried.length = 0
  await clock.advance(1_000)
  await turn()
  t.same(tried, ['session/revoked'])
  t.same(told, ['the record session/broken cannot be read', 'the record session/revoked cannot be read'])
})

t.test('many that fail at once are a few lines, and all of them are read with the next whole look', async (t) => {
  const { clock, broken, told, hear } = following(t)
  for (let i = 0; i < 1_000; i++) {
    broken.add(`session/${i}`)
    hear(`session/${i}`)
  }
  await turn()
  t.equal(told.length, 10)
  t.equal(clock.timers, 1_000)
  hear(undefined)
  await turn()
  t.equal(clock.timers, 0)
})
