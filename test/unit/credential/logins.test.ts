import { randomBytes } from 'node:crypto'
import t from 'tap'
import { GrantError, type Grant, type Held } from '../../../src/credential/grants/grant.js'
import { Provider } from '../../../src/credential/provider.js'
import { recordName, type KeptRecord } from '../../../src/credential/record.js'
import { Secret } from '../../../src/secret.js'
import { memoryStore } from '../../../src/state/memory.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { StateError, type Store } from '../../../src/state/store.js'
import { Vault } from '../../../src/state/vault.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { manualClock, settled, type ManualClock } from '../../helpers/manual-clock.js'

const NAME = recordName('credential', 'alice', 'tools')
const mint = (prefix: string): string => `${prefix}_${randomBytes(9).toString('base64url')}`

/** An issuer whose refresh tokens are good once: who comes with one that was spent is told that the grant is over. */
function strictIssuer (clock: ManualClock) {
  const spent = new Set<string>()
  const login = (seed: { refresh?: string, access?: string }, more: Partial<Grant> = {}): Grant => ({
    type: 'refresh_token',
    kept: true,
    terms: '',
    asks: 'issuer',
    seed: async () => ({ refreshToken: seed.refresh === undefined ? undefined : new Secret(seed.refresh), accessToken: seed.access === undefined ? undefined : new Secret(seed.access) }),
    async exchange ({ refreshToken }: Held) {
      const refresh = refreshToken?.reveal()
      if (refresh !== undefined && spent.has(refresh)) throw new GrantError('revoked', 'the issuer answered invalid_grant')
      if (refresh !== undefined) spent.add(refresh)
      return { accessToken: new Secret(mint('at')), refreshToken: refresh === undefined ? undefined : new Secret(mint('rt')), obtainedAt: clock.now(), expiresAt: clock.now() + 3_600_000 }
    },
    ...more,
  })
  return { login, spent }
}

/** A store that several sidecars share, and one's own way to it, which may be cut. */
function shared (store: Store, seal: Seal) {
  const way = { cut: false, events: [] as ValetEvent[] }
  const guarded = async <T> (work: () => Promise<T>): Promise<T> => { if (way.cut) throw new StateError('gone'); return await work() }
  const vault = new Vault({
    ...store,
    shared: true,
    read: async (key) => await guarded(async () => await store.read(key)),
    write: async (key, value, options) => await guarded(async () => await store.write(key, value, options)),
    lease: async (key, work) => await guarded(async () => await store.lease(key, work)),
  }, seal)
  return Object.assign(way, { vault })
}

function scene () {
  const clock = manualClock()
  const [store, seal] = [memoryStore(), new Seal(StateKey.random())]
  const sidecar = (grant: Grant) => {
    const way = shared(store, seal)
    const provider = new Provider({ principal: 'alice', upstream: 'tools', keptAs: NAME, grant, vault: way.vault, clock, emit: (event) => way.events.push(event) })
    t.teardown(async () => await provider.close())
    return { provider, way, refresh: async () => await provider.refresh(Infinity), state: () => provider.status().state, token: () => provider.current()?.fingerprint }
  }
  return { clock, sidecar, ...strictIssuer(clock), kept: async () => await shared(store, seal).vault.read<KeptRecord>(NAME) }
}

t.test('row 14: while a new login takes the place of another, sidecar by sidecar, none spends what the other has', async (t) => {
  const it = scene()
  const [old, young] = [{ refresh: mint('rt') }, { refresh: mint('rt') }]
  const before = it.sidecar(it.login(old))
  await before.provider.warm()
  const after = it.sidecar(it.login(young))
  await after.provider.warm()
  for (let n = 0; n < 2; n++) {
    await before.refresh()
    await after.refresh()
  }
  await before.provider.close()
  const third = it.sidecar(it.login(young))
  await third.provider.warm()
  await third.refresh()
  t.same([third.state(), it.spent.size], ['valid', 7])
  const back = it.sidecar(it.login(old))
  await back.provider.warm()
  await back.refresh()
  t.equal(back.state(), 'valid', 'nor is the earlier one lost, should it come back')
})

t.test('row 14: of the logins of one credential the last four are kept', async (t) => {
  const it = scene()
  for (let n = 0; n < 6; n++) await it.sidecar(it.login({ refresh: mint('rt') })).provider.warm()
  t.equal((await it.kept())?.others?.length, 3)
})

t.test('row 10: an access token that comes or goes beside a refresh token changes nothing about its login', async (t) => {
  const it = scene()
  const refresh = mint('rt')
  for (const access of [mint('at'), undefined, mint('at')]) {
    const { provider, refresh: renew, state } = it.sidecar(it.login({ refresh, ...(access === undefined ? {} : { access }) }))
    await provider.warm()
    await renew()
    t.equal(state(), 'valid')
    await provider.close()
  }
  t.equal(it.spent.size, 3)
})

t.test('row 11: a new pair that could not be saved is not given up for the word of whoever came with the one before it', async (t) => {
  const it = scene()
  const seed = { refresh: mint('rt') }
  let cut = (): void => {}
  const grant = it.login(seed)
  const [one, two] = [it.sidecar({ ...grant, exchange: async (held) => { cut(); return await grant.exchange(held) } }), it.sidecar(grant)]
  await one.provider.warm()
  await two.provider.warm()
  cut = () => { one.way.cut = true }
  await one.refresh()
  const won = one.token()
  await t.rejects(two.refresh(), { message: /invalid_grant/ })
  cut = () => {}
  one.way.cut = false
  await one.provider.notice()
  t.same([one.state(), one.token()], ['valid', won])
  await it.clock.advance(60_000)
  await settled()
  t.equal((await it.kept())?.revoked, undefined)
  await two.provider.notice()
  t.same([two.state(), two.token()], ['valid', won], 'and the other one has it, too')
  await one.refresh()
  t.equal(one.state(), 'valid')
})

/** A sidecar whose new pair the store would not take, and what puts the store right. */
async function unsavedPair (it: ReturnType<typeof scene>, grant: Grant) {
  let cut = (): void => {}
  const one = it.sidecar({ ...grant, exchange: async (held) => { cut(); return await grant.exchange(held) } })
  await one.provider.warm()
  cut = () => { one.way.cut = true }
  await one.refresh()
  return { ...one, mend: () => { one.way.cut = false } }
}

t.test('row 52: a pair that could not be saved outlives a change of its config', async (t) => {
  const it = scene()
  const seed = { refresh: mint('rt') }
  const one = await unsavedPair(it, it.login(seed))
  one.provider.replace(it.login(seed, { terms: 'another scope' }), NAME)
  await settled()
  one.mend()
  await one.refresh()
  t.equal(one.state(), 'valid')
})

t.test('row 52: so it does where the credential is kept under another name from then on', async (t) => {
  const it = scene()
  const grant = it.login({ refresh: mint('rt') })
  const one = await unsavedPair(it, grant)
  one.provider.replace(it.login({ refresh: mint('rt') }), recordName('put-credential', 'alice', 'tools'))
  await settled()
  one.mend()
  await it.clock.advance(60_000)
  await settled()
  const again = it.sidecar(grant)
  await again.provider.warm()
  await again.refresh()
  t.equal(again.state(), 'valid')
})

t.test('P2: who has missed that there is another login takes up no token of the one before', async (t) => {
  const it = scene()
  const [wrong, right] = [it.sidecar(it.login({ refresh: mint('rt') })), it.sidecar(it.login({ refresh: mint('rt') }))]
  await wrong.provider.warm()
  await right.provider.notice()
  t.equal(right.token(), undefined)
  await right.provider.warm()
  t.not(right.token(), wrong.token())
})

t.test('row 9: a try of another sidecar that fails, too, brings nobody back to the issuer sooner', async (t) => {
  const it = scene()
  const grant = it.login({ refresh: mint('rt') })
  let [asked, down] = [0, false]
  const failing: Grant = {
    ...grant,
    async exchange (held) {
      asked++
      if (down) throw new GrantError('unavailable', 'the issuer answered 503', { retryAfter: 60_000 })
      return await grant.exchange(held)
    },
  }
  const sidecars = [it.sidecar(failing), it.sidecar(failing)]
  for (const { provider } of sidecars) await provider.warm()
  down = true
  const before = asked
  // Long enough for the renewal ahead of the expiry of both, and for each to hear of every step of the other.
  for (let n = 0; n < 90; n++) {
    await it.clock.advance(n === 0 ? 3_300_000 : 500)
    for (const { provider } of sidecars) await provider.notice()
  }
  t.equal(asked - before, 2, 'each of them is told once when to come back')
  await it.clock.advance(60_000)
  t.ok(asked - before > 2, 'and does come back')
  down = false
  const [one, two] = sidecars as [typeof sidecars[0], typeof sidecars[0]]
  await one?.refresh()
  await two?.provider.notice()
  t.same([two?.state(), two?.token()], ['valid', one?.token()], 'what another one has got is taken up at once')
})

t.test('row 9: who is told when to come back does so, though another one was cut off meanwhile', async (t) => {
  const it = scene()
  const grant = it.login({ refresh: mint('rt') })
  let down = false
  const one = it.sidecar({
    ...grant,
    async exchange (held) {
      if (!down) return await grant.exchange(held)
      one.way.cut = true
      throw new GrantError('unavailable', 'the issuer does not answer')
    },
  })
  let asked = 0
  const two = it.sidecar({
    ...grant,
    async exchange (held) {
      if (++asked === 1) throw new GrantError('unavailable', 'the issuer answered 503', { retryAfter: 60_000 })
      return await grant.exchange(held)
    },
  })
  await one.provider.warm()
  await two.provider.warm()
  await t.rejects(two.refresh(), { message: /503/ })
  down = true
  await t.rejects(one.refresh(), { message: /does not answer/ })
  await one.provider.close()
  await two.provider.notice()
  await it.clock.advance(50_000)
  t.equal(asked, 1)
  await it.clock.advance(25_000)
  t.same([asked, two.state()], [2, 'valid'])
})

t.test('row 22: what needs no refresh token is renewed without its store, too', async (t) => {
  const it = scene()
  const one = it.sidecar(it.login({}, { type: 'client_credentials' }))
  await one.provider.warm()
  const first = one.token()
  one.way.cut = true
  await one.refresh()
  t.same([one.state(), one.token() === first], ['valid', false])
})
