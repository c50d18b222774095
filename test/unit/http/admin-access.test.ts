import t, { type Test } from 'tap'
import type { SecretRef } from '../../../src/config/config.js'
import { secretRef } from '../../../src/config/secret-ref.js'
import { Access } from '../../../src/http/admin/access.js'
import type { Secret } from '../../../src/secret.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { manualClock, settled } from '../../helpers/manual-clock.js'
import { mintToken } from '../../helpers/mint.js'

function setUp (env: Record<string, string>) {
  const clock = manualClock()
  const events: ValetEvent[] = []
  let reads = 0
  const ref = secretRef({ env: 'TOKEN' }, { env })
  const token = { source: ref.source, read: async () => { reads++; return await ref.read() } }
  const config: { token: SecretRef | undefined } = { token }
  const access = new Access({ token: () => config.token, clock, emit: (event) => { events.push(event) } })
  return { clock, events, access, config, reads: () => reads }
}

/** Judges a wrong token, without the wait for its answer. */
async function wrongly (t: Test, { access, clock }: ReturnType<typeof setUp>, authorization: string): Promise<void> {
  const verdict = access.judge(authorization)
  await settled()
  await clock.advance(500)
  t.equal(await verdict, 'refused', JSON.stringify(authorization))
}

t.test('the token opens, and nothing else does', async (t) => {
  const token = mintToken()
  const here = setUp({ TOKEN: token })
  for (const header of [`Bearer ${token}`, `bearer   ${token}`, `BEARER ${token} `]) t.equal(await here.access.judge(header), 'granted', header)
  for (const header of [undefined, '', token, 'Bearer', 'Bearer ', `Basic ${token}`, `Bearer ${token} x`, `Bearer\t${token}`]) {
    t.equal(await here.access.judge(header), 'refused', String(header))
  }
  for (const wrong of [token.slice(0, -1), `${token}x`, token.toUpperCase(), mintToken(), 'x']) await wrongly(t, here, `Bearer ${wrong}`)
})

t.test('the token is read again after a second, and not before', async (t) => {
  const [first, second] = [mintToken(), mintToken()]
  const env = { TOKEN: first }
  const here = setUp(env)
  const { access, clock, reads } = here
  t.same(await Promise.all(Array.from({ length: 20 }, async () => await access.judge(`Bearer ${first}`))), Array(20).fill('granted'))
  t.equal(reads(), 1, 'once for all who ask at the same time')
  env.TOKEN = second
  t.equal(await access.judge(`Bearer ${first}`), 'granted')
  await clock.advance(1_000)
  t.equal(await access.judge(`Bearer ${second}`), 'granted', 'a rotated one is picked up')
  t.equal(reads(), 2)
  await wrongly(t, here, `Bearer ${first}`)
})

t.test('row 52: where another config has another place for it, the token is read there at once', async (t) => {
  const [first, second] = [mintToken(), mintToken()]
  const here = setUp({ TOKEN: first })
  const { access, config } = here
  t.equal(await access.judge(`Bearer ${first}`), 'granted')
  let hung = (_error: Error): void => {}
  config.token = { source: 'env SLOW', read: async () => await new Promise<Secret>((_resolve, reject) => { hung = reject }) }
  const slow = access.judge(`Bearer ${second}`)
  await settled()
  config.token = secretRef({ env: 'OTHER' }, { env: { OTHER: second } })
  t.equal(await access.judge(`Bearer ${second}`), 'granted', 'whatever the place before it waits for')
  hung(new Error('the place before'))
  t.equal(await slow, 'granted', 'by the config that there is by then')
  t.same(here.events, [])
  await wrongly(t, here, `Bearer ${first}`)
  config.token = undefined
  for (const header of [undefined, `Bearer ${second}`]) t.equal(await access.judge(header), 'off')
})

t.test('a wrong token waits for its answer, the right one and a missing one do not', async (t) => {
  const token = mintToken()
  const { access, clock } = setUp({ TOKEN: token })
  t.equal(await access.judge(undefined), 'refused')
  let answered = false
  const wrong = access.judge('Bearer wrong').then(() => { answered = true })
  t.equal(await access.judge(`Bearer ${token}`), 'granted')
  await settled()
  await clock.advance(499)
  t.notOk(answered)
  await clock.advance(1)
  await wrong
})

t.test('however many wrong tokens wait, the right one is granted at once, and those that wait are bounded', async (t) => {
  const token = mintToken()
  const { access, clock } = setUp({ TOKEN: token })
  await access.judge(undefined)
  const verdicts = Array.from({ length: 1_000 }, async () => await access.judge(`Bearer ${mintToken()}`))
  t.equal(await access.judge(`Bearer ${token}`), 'granted')
  await settled()
  t.equal(clock.timers, 32)
  await clock.advance(500)
  t.same(new Set(await Promise.all(verdicts)), new Set(['refused']))
  const late = access.judge('Bearer wrong')
  await settled()
  t.equal(clock.timers, 1, 'and then there is room to wait again')
  await clock.advance(500)
  t.equal(await late, 'refused')
})

t.test('a token that cannot be read is told once, and comes back by itself', async (t) => {
  const token = mintToken()
  const env: Record<string, string> = {}
  const { access, clock, events } = setUp(env)
  for (let i = 0; i < 3; i++) {
    await clock.advance(1_000)
    t.equal(await access.judge(`Bearer ${token}`), 'unavailable')
  }
  t.match(events, [{ event: 'warning', reason: /503.*the environment variable TOKEN is not set/ }])
  t.equal(events.length, 1)
  env.TOKEN = token
  t.equal(await access.judge(`Bearer ${token}`), 'unavailable', 'the last look is still good')
  await clock.advance(1_000)
  t.equal(await access.judge(`Bearer ${token}`), 'granted')
  delete env.TOKEN
  await clock.advance(1_000)
  t.equal(await access.judge(`Bearer ${token}`), 'unavailable', 'what was taken away does not open any more')
  t.equal(events.length, 2)
})

t.test('a token that is too short opens nothing', async (t) => {
  const { access, events } = setUp({ TOKEN: 'fifteen-letters' })
  t.equal(await access.judge('Bearer fifteen-letters'), 'unavailable')
  t.match(events, [{ reason: /has 15 characters; it takes 16 to 4096/ }])
  t.notMatch(JSON.stringify(events), 'fifteen')
})
