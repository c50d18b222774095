import { randomBytes } from 'node:crypto'
import t from 'tap'
import { GrantError, type Grant, type Held } from '../../../src/credential/grants/grant.js'
import { Kept } from '../../../src/credential/kept.js'
import { recordName, type CredentialRecord } from '../../../src/credential/record.js'
import { Renewal } from '../../../src/credential/renewal.js'
import { Secret } from '../../../src/secret.js'
import { memoryStore } from '../../../src/state/memory.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { LeaseLostError, type Lease, type Store } from '../../../src/state/store.js'
import { Vault } from '../../../src/state/vault.js'
import { manualClock } from '../../helpers/manual-clock.js'

const NAME = recordName('credential', 'alice', 'tools')
const mint = (prefix: string): string => `${prefix}_${randomBytes(9).toString('base64url')}`

/** A store whose leases pass to somebody else whenever the test says so, as when the process was stopped for too long. */
function leasedStore (): Store & { lose (): void } {
  const store = memoryStore()
  let current: AbortController | undefined
  const isHeld = (lease: Lease): boolean => !lease.lost.aborted
  return {
    ...store,
    shared: true,
    lose: () => current?.abort(),
    async write (key, value, options) {
      if (options?.lease !== undefined && !isHeld(options.lease)) throw new LeaseLostError(key)
      await store.write(key, value)
    },
    lease: async (key, work) => await store.lease(key, async () => {
      const mine = current = new AbortController()
      return await work({ lost: mine.signal, held: () => !mine.signal.aborted })
    }),
  }
}

function scene (exchange: (held: Held, nth: number, mayAsk: () => void) => Promise<{ refresh?: string }>) {
  const clock = manualClock()
  const store = leasedStore()
  const vault = new Vault(store, new Seal(StateKey.random()))
  const spent: string[] = []
  const seed = mint('rt')
  const grant: Grant = {
    type: 'refresh_token',
    kept: true,
    terms: '',
    asks: 'issuer',
    seed: async () => ({ accessToken: undefined, refreshToken: new Secret(seed) }),
    async exchange (held, mayAsk = () => {}) {
      const { refresh = mint('rt') } = await exchange(held, spent.push(held.refreshToken?.reveal() as string), mayAsk)
      return { accessToken: new Secret(mint('at')), refreshToken: new Secret(refresh), obtainedAt: clock.now(), expiresAt: clock.now() + 3_600_000 }
    },
  }
  const renewal = (): Renewal => new Renewal({ grant, clock, kept: new Kept(NAME, vault, (error) => { throw error }) })
  const stored = async (): Promise<CredentialRecord> => await vault.read<CredentialRecord>(NAME) as CredentialRecord
  return { clock, store, vault, grant, spent, seed, renewal, stored }
}

t.test('row 10: that a refresh token is being spent is noted before it is, and gone once its answer is saved', async (t) => {
  let during: CredentialRecord | undefined
  const it = scene(async () => { during = await it.stored(); return {} })
  const renewal = it.renewal()
  t.match(await renewal.run('ahead'), { how: 'issued' })
  t.equal(during?.spending_since, it.clock.now())
  t.equal(during?.refresh_token, it.seed)
  t.notOk('spending_since' in await it.stored())
  t.notOk(renewal.interrupted)
})

t.test('row 10: whoever finds the note without its writer asks again at once, though the access token is good', async (t) => {
  const it = scene(async () => ({}))
  await it.renewal().run('ahead')
  await it.vault.write(NAME, { ...await it.stored(), spending_since: 1 })
  const second = it.renewal()
  t.equal(await second.takeUp(), false, 'there is something to do')
  t.match(await second.run('ahead'), { how: 'recovered' })
  t.equal(it.spent.length, 2)
  t.notOk('spending_since' in await it.stored())
})

t.test('row 10: where the issuer says then that the grant is over, it says so, and why', async (t) => {
  const it = scene(async (_held, nth) => { if (nth > 1) throw new GrantError('revoked', 'the issuer answered invalid_grant'); return {} })
  await it.renewal().run('ahead')
  await it.vault.write(NAME, { ...await it.stored(), spending_since: 1 })
  const second = it.renewal()
  await t.rejects(second.run('ahead'), { message: /invalid_grant; an earlier renewal had been cut off before its answer could be saved/ })
  t.match(await it.stored(), { revoked: true })
  t.notOk('spending_since' in await it.stored())
})

t.test('row 10: a renewal that fails takes its note back', async (t) => {
  const it = scene(async () => { throw new GrantError('unavailable', 'no') })
  await t.rejects(it.renewal().run('ahead'), { message: 'no' })
  t.notOk('spending_since' in await it.stored())
})

t.test('row 22: where others share the store and it refuses, no refresh token is spent', async (t) => {
  const it = scene(async () => ({}))
  it.store.write = async () => { throw new Error('gone') }
  await t.rejects(it.renewal().run('ahead'), { name: 'StateError' })
  t.same(it.spent, [])
})

t.test('row 14: who was stopped past its lease does not spend the refresh token', async (t) => {
  const it = scene(async (_held, _nth, mayAsk) => { it.store.lose(); mayAsk(); return {} })
  await t.rejects(it.renewal().run('ahead'), { message: /another process has taken over/ })
})

t.test('row 14: what was won after the lease was lost is saved where nobody has done anything since', async (t) => {
  const it = scene(async () => { it.store.lose(); return { refresh: 'won' } })
  const renewal = it.renewal()
  t.match(await renewal.run('ahead'), { how: 'issued' })
  t.match(await it.stored(), { refresh_token: 'won' })
})

t.test('row 14: a loser never overwrites a winner', async (t) => {
  const it = scene(async () => {
    it.store.lose()
    await it.vault.write(NAME, { ...await it.stored(), revision: 9, generation: 5, access_token: 'theirs', refresh_token: 'theirs', obtained_at: it.clock.now(), expires_at: it.clock.now() + 1_000_000 })
    return { refresh: 'mine' }
  })
  const renewed = await it.renewal().run('ahead')
  t.match(renewed, { how: 'adopted', credential: { generation: 5 } })
  t.match(await it.stored(), { refresh_token: 'theirs', revision: 9 })
})

t.test('row 14: a winner who was told that the grant is over does not take what the loser has won', async (t) => {
  const it = scene(async () => {
    it.store.lose()
    await it.vault.write(NAME, { ...await it.stored(), revision: 9, revoked: true })
    return { refresh: 'mine' }
  })
  t.match(await it.renewal().run('ahead'), { how: 'issued' })
  t.match(await it.stored(), { refresh_token: 'mine', revision: 10 })
  t.notOk('revoked' in await it.stored())
})

t.test('row 14: who lost the lease and won nothing waits for the winner', async (t) => {
  const it = scene(async (_held, _nth, mayAsk) => { it.store.lose(); return mayAsk() as never })
  const renewal = it.renewal()
  await t.rejects(renewal.run('ahead'), { name: 'GrantError' })
  t.equal(renewal.credential, undefined)
})

t.test('P2: what another process has saved is taken up, unless it is older or from another seed', async (t) => {
  const it = scene(async () => ({}))
  const [one, two] = [it.renewal(), it.renewal()]
  t.notOk(await two.look())
  await one.run('ahead')
  t.ok(await two.look())
  t.equal(two.credential?.fingerprint, one.credential?.fingerprint)
  t.notOk(await two.look(), 'there is nothing newer')
  await it.vault.write(NAME, { ...await it.stored(), revision: 99, seed: 'other' })
  t.notOk(await two.look())
})

t.test('row 25: what another process has renewed while this one waited for its lease is not renewed again', async (t) => {
  const it = scene(async () => ({}))
  const [one, two] = [it.renewal(), it.renewal()]
  await one.run('ahead')
  await two.look()
  const { lease } = it.store
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => { open = resolve })
  it.store.lease = async (key, work) => { await opened; return await lease(key, work) }
  const second = two.run('rejected')
  it.store.lease = lease
  await one.run('rejected')
  t.ok(await two.look(), 'the word of it comes before the lease')
  open()
  t.match(await second, { how: 'adopted' })
  t.equal(it.spent.length, 2)
})
