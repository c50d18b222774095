import t, { type Test } from 'tap'
import { acquire } from '../../../src/credential/acquire.js'
import { GrantError, type Grant, type Held, type Issued } from '../../../src/credential/grants/grant.js'
import { Grants } from '../../../src/credential/grants/index.js'
import { Principals } from '../../../src/credential/principals.js'
import { Provider } from '../../../src/credential/provider.js'
import { recordName, seedDigest } from '../../../src/credential/record.js'
import { Exchange } from '../../../src/exchange.js'
import { Secret } from '../../../src/secret.js'
import { memoryStore } from '../../../src/state/memory.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import type { Store } from '../../../src/state/store.js'
import { Vault } from '../../../src/state/vault.js'
import type { RefreshEvent, ValetEvent } from '../../../src/telemetry/events.js'
import { manualClock, settled, type ManualClock } from '../../helpers/manual-clock.js'
import { gate, mint } from '../../helpers/tokens.js'

/** A grant whose tokens live an hour, with a refresh token that rotates; `exchange` may be replaced. */
function rotating (clock: ManualClock, exchange?: (held: Held, nth: number) => Promise<Partial<Issued>>): Grant & { readonly held: Array<string | undefined>, env: { rt: string | undefined } } {
  const held: Array<string | undefined> = []
  const env: { rt: string | undefined } = { rt: mint('rt') }
  return {
    type: 'refresh_token',
    kept: true,
    terms: '',
    asks: 'issuer',
    held,
    env,
    async seed () {
      if (env.rt === undefined) throw new GrantError('unavailable', 'env RT is not set')
      return { accessToken: undefined, refreshToken: new Secret(env.rt) }
    },
    async exchange (before) {
      const nth = held.push(before.refreshToken?.reveal())
      const obtainedAt = clock.now()
      return { accessToken: new Secret(mint()), refreshToken: new Secret(mint('rt')), obtainedAt, expiresAt: obtainedAt + 3_600_000, ...await exchange?.(before, nth) }
    },
  }
}

function vaultOf (store: Store, seal = new Seal(StateKey.random())): Vault {
  return new Vault(store, seal)
}

function providerOf (t: Test, grant: Grant, clock: ManualClock, vault: Vault): Provider & { events: ValetEvent[] } {
  const events: ValetEvent[] = []
  const provider = new Provider({ principal: 'alice', upstream: 'tools', keptAs: recordName('credential', 'alice', 'tools'), grant, vault, clock, emit: (event) => { events.push(event) } })
  t.teardown(async () => await provider.close())
  return Object.assign(provider, { events })
}

const refreshes = (events: ValetEvent[]): RefreshEvent[] => events.filter((event): event is RefreshEvent => event.event === 'refresh')
const NEVER = Infinity
const unasked = (): never => { throw new Error('nothing is put at run time here') }

t.test('row 11: a pair that cannot be saved is kept in memory, told, and saved as soon as that works again', async (t) => {
  const clock = manualClock()
  const store = memoryStore()
  let full = true
  const vault = vaultOf({ ...store, write: async (key, value) => { if (full) throw Object.assign(new Error(), { code: 'ENOSPC' }); await store.write(key, value) } })
  const provider = providerOf(t, rotating(clock), clock, vault)
  await provider.warm()
  t.ok(provider.current())
  const told = () => provider.events.filter(({ event }) => event === 'state_failed')
  t.match(told(), [{ principal: 'alice', upstream: 'tools', reason: /cannot be saved \(ENOSPC\)/ }])
  await clock.advance(1_000)
  await clock.advance(2_000)
  t.equal(told().length, 3, 'with longer and longer waits')
  await clock.advance(3_999)
  t.equal(told().length, 3)
  full = false
  await clock.advance(1)
  t.equal((await vault.read<{ revision: number }>(recordName('credential', 'alice', 'tools')))?.revision, 3)
  t.equal(refreshes(provider.events).length, 1, 'and none of that has cost a refresh')
  await clock.advance(3_296_000)
  t.equal(refreshes(provider.events).length, 2, 'and the next one comes when it is due')
})

t.test('row 11: it is saved at the latest when the sidecar closes', async (t) => {
  const clock = manualClock()
  const store = memoryStore()
  let full = true
  const vault = vaultOf({ ...store, write: async (key, value) => { if (full) throw new Error(); await store.write(key, value) } })
  const provider = providerOf(t, rotating(clock), clock, vault)
  await provider.warm()
  full = false
  await provider.close()
  t.ok(await vault.read(recordName('credential', 'alice', 'tools')))
})

t.test('row 14: what could not be saved does not overwrite what somebody else has saved since', async (t) => {
  const clock = manualClock()
  const store = memoryStore()
  let full = true
  const vault = vaultOf({ ...store, write: async (key, value) => { if (full) throw new Error(); await store.write(key, value) } })
  const grant = rotating(clock)
  const provider = providerOf(t, grant, clock, vault)
  await provider.warm()
  full = false
  const winner = { revision: 9, generation: 9, access_token: mint(), refresh_token: mint(), obtained_at: clock.now(), seed: seedDigest(await grant.seed()), terms: '' }
  await vault.write(recordName('credential', 'alice', 'tools'), winner)
  await clock.advance(1_000)
  t.same(await vault.read(recordName('credential', 'alice', 'tools')), winner)
})

t.test('row 13: invalid_grant after another process rotated adopts its pair', async (t) => {
  const clock = manualClock()
  const [vault, other] = [vaultOf(memoryStore()), gate<void>()]
  const grant = rotating(clock)
  const winner = providerOf(t, grant, clock, vault)
  // Without a shared lease, as two processes on one state folder are, both come with the same refresh token.
  const late: Grant = { ...grant, exchange: async () => { await other.opened; throw new GrantError('revoked', 'invalid_grant') } }
  const unleased = Object.assign(Object.create(vault) as Vault, { lease: async <T>(_name: string, work: () => Promise<T>) => await work(), read: vault.read.bind(vault), write: vault.write.bind(vault) })
  const loser = providerOf(t, late, clock, unleased)
  const warming = loser.warm()
  await settled()
  await winner.warm()
  other.open()
  await warming
  t.equal(loser.current()?.fingerprint, winner.current()?.fingerprint)
  t.match(refreshes(loser.events), [{ outcome: 'adopted' }])
})

t.test('row 13: invalid_grant while a person puts a new refresh token in place goes on with that one', async (t) => {
  const clock = manualClock()
  const grant = rotating(clock, async (_held, nth) => {
    if (nth > 1) return {}
    grant.env.rt = mint('rt')
    throw new GrantError('revoked', 'invalid_grant')
  })
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  t.ok(await provider.usable(NEVER))
  t.equal(grant.held[1], grant.env.rt)
})

t.test('row 13: invalid_grant after another process has found out the same is revoked, and written once', async (t) => {
  const clock = manualClock()
  const vault = vaultOf(memoryStore())
  const name = recordName('credential', 'alice', 'tools')
  const grant = rotating(clock, async () => {
    await vault.write(name, { revision: 7, generation: 1, obtained_at: 0, seed: seedDigest(await grant.seed()), terms: '', revoked: true })
    throw new GrantError('revoked', 'invalid_grant')
  })
  const provider = providerOf(t, grant, clock, vault)
  await t.rejects(provider.usable(NEVER), { code: 'ERR_CREDENTIAL_REVOKED' })
  t.match(await vault.read(name), { revision: 7 })
})

t.test('a seed that cannot be read any more does not matter while there is a stored pair', async (t) => {
  const clock = manualClock()
  const vault = vaultOf(memoryStore())
  const grant = rotating(clock)
  const first = providerOf(t, grant, clock, vault)
  await first.warm()
  grant.env.rt = undefined
  const second = providerOf(t, grant, clock, vault)
  await second.warm()
  t.equal(second.current()?.fingerprint, first.current()?.fingerprint)
})

t.test('row 6: a sidecar that closes lets a flight land and starts no other', async (t) => {
  const clock = manualClock()
  const opened = gate()
  const vault = vaultOf(memoryStore())
  const grant = rotating(clock, async () => { await opened.opened; return {} })
  const provider = providerOf(t, grant, clock, vault)
  void provider.warm()
  await settled()
  const closing = provider.close()
  opened.open()
  await closing
  t.ok(await vault.read(recordName('credential', 'alice', 'tools')), 'the new pair is saved')
  t.equal(clock.timers, 0)
  clock.jump(7_200_000)
  await t.rejects(provider.usable(NEVER), { code: 'ERR_CREDENTIAL_UNAVAILABLE' })
  t.equal(grant.held.length, 1)
})

t.test('row 6: callers that wait for a retry are let go when the sidecar closes', async (t) => {
  const clock = manualClock()
  const provider = providerOf(t, rotating(clock, async () => { throw new GrantError('unavailable', 'down') }), clock, vaultOf(memoryStore()))
  const waiting = provider.usable(30_000)
  await settled()
  await provider.close()
  await t.rejects(waiting, { code: 'ERR_CREDENTIAL_UNAVAILABLE' })
})

t.test('row 9: a timer that fires a fraction of a millisecond early does not end the retries', async (t) => {
  const clock = manualClock()
  const early = { ...clock, after: (ms: number, callback: () => void) => clock.after(ms > 1 ? ms - 0.7 : ms, callback), now: clock.now, elapsed: clock.elapsed, random: clock.random, get timers () { return clock.timers } }
  const grant = rotating(clock, async (_held, nth) => { if (nth < 3) throw new GrantError('unavailable', 'down'); return {} })
  const provider = providerOf(t, grant, early, vaultOf(memoryStore()))
  await provider.warm()
  await clock.advance(2_000)
  t.equal(grant.held.length, 3)
  t.ok(provider.current())
})

t.test('row 26: a plain 403 is remembered for its token', async (t) => {
  const clock = manualClock()
  const provider = providerOf(t, rotating(clock), clock, vaultOf(memoryStore()))
  const first = await provider.usable(NEVER)
  t.equal(provider.firstDenial(first), true)
  const second = await provider.renew(first, 'rejected', NEVER)
  t.equal(second.generation, first.generation + 1)
  t.equal(provider.firstDenial(second), false, 'the denial is meant')
  t.equal(await provider.renew(first, 'rejected', NEVER), second, 'and who comes late gets what is there')
})

t.test('row 24: an upstream that refuses every token does not cost a token request a call', async (t) => {
  const clock = manualClock()
  const grant = rotating(clock)
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  let credential = await provider.usable(NEVER)
  for (let calls = 0; calls < 50; calls++) credential = await provider.renew(credential, 'rejected', NEVER)
  t.equal(grant.held.length, 3)
  await clock.advance(500)
  provider.accepted(await provider.renew(credential, 'rejected', NEVER))
  t.equal(grant.held.length, 4)
})

t.test('how a credential stands: failed, valid, expiring, expired, revoked', async (t) => {
  const clock = manualClock()
  let answer: GrantError | undefined = new GrantError('unavailable', 'down')
  const grant = rotating(clock, async () => { if (answer !== undefined) throw answer; return {} })
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  await provider.warm()
  t.match(provider.status(), { state: 'failed', reason: 'down', expiresAt: undefined, refreshedAt: undefined })
  answer = undefined
  await clock.advance(250)
  t.match(provider.status(), { state: 'valid', reason: undefined, refreshedAt: clock.now() })
  clock.jump(3_400_000)
  t.equal(provider.status().state, 'expiring')
  clock.jump(1_000_000)
  t.equal(provider.status().state, 'expired')
  answer = new GrantError('revoked', 'invalid_grant')
  await t.rejects(provider.usable(NEVER), { code: 'ERR_CREDENTIAL_REVOKED' })
  t.equal(provider.status().state, 'revoked')
})

t.test('what nobody foresaw is told without its message', async (t) => {
  const clock = manualClock()
  const provider = providerOf(t, rotating(clock, async () => { throw new Error('secret') }), clock, vaultOf(memoryStore()))
  await provider.warm()
  t.match(refreshes(provider.events), [{ outcome: 'unavailable', reason: 'the renewal failed inside mcp-valet' }])
  t.notMatch(JSON.stringify(provider.events), /secret/)
})

t.test('a call that may go out without a credential does not wait through an outage for one', async (t) => {
  const clock = manualClock()
  const provider = providerOf(t, rotating(clock, async () => await new Promise(() => {})), clock, vaultOf(memoryStore()))
  provider.close = async () => {}
  const exchange = new Exchange('id', 'POST', 'tools', 0)
  const acquired = acquire(exchange, provider, { anonymous: new Set(['refresh_failed']), deadlineMs: 30_000 } as never, clock, () => {})
  await settled()
  await clock.advance(5_000)
  await acquired
  t.equal(exchange.authority, 'anonymous')
})

t.test('row 55: at the start, an issuer that hangs holds up neither other issuers nor its own others for long', async (t) => {
  const clock = manualClock()
  const read: string[] = []
  const ref = (source: string, hangs: boolean) => ({ source, read: async () => { read.push(source); return hangs ? await new Promise<never>(() => {}) : new Secret(mint()) } })
  const principals = new Principals({
    configured: Array.from({ length: 100 }, (_, nth) => ({
      id: `p${nth}`,
      tools: undefined,
      credentials: new Map([['tools', { type: 'api_token' as const, token: ref(nth === 99 ? 'good' : 'hanging', nth < 40) }]]),
    })),
    complete: unasked,
    vault: vaultOf(memoryStore()),
    clock,
    grants: new Grants(clock),
    emit: () => {}
  })
  await principals.load()
  void principals.warm()
  await settled()
  t.equal(read.filter((source) => source === 'hanging').length, 8, 'eight at once')
  t.ok(principals.find('p99', 'tools')?.current(), 'another issuer is asked at once')
  await clock.advance(5_000)
  t.equal(read.length, 100, 'and the ones behind it are not forgotten')
  t.ok(principals.has('p0'))
  t.match(principals.census(['tools', 'other'], clock.now()), [{ upstream: 'tools', states: { valid: 60, failed: 40 }, soonest: undefined }, { upstream: 'other', states: { valid: 0 } }])
  t.same(principals.census([], 0), [])
})

t.test('row 55: a start that is broken off begins no more', async (t) => {
  const clock = manualClock()
  let read = 0
  const opened = gate()
  const token = { source: 's', read: async () => { read++; await opened.opened; return new Secret('t') } }
  const principals = new Principals({ configured: Array.from({ length: 20 }, (_, nth) => ({ id: `p${nth}`, tools: undefined, credentials: new Map([['tools', { type: 'api_token' as const, token }]]) })), complete: unasked, vault: vaultOf(memoryStore()), clock, grants: new Grants(clock), emit: () => {} })
  await principals.load()
  const warming = principals.warm()
  await settled()
  const closing = principals.close()
  opened.open()
  await Promise.all([warming, closing])
  t.equal(read, 8)
})

t.test('row 6: in the must-refresh window callers share the refresh that is under way, and get its token', async (t) => {
  const clock = manualClock()
  const opened = gate()
  const grant = rotating(clock, async (_held, nth) => { if (nth > 1) await opened.opened; return {} })
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  const old = await provider.usable(NEVER)
  t.equal(await provider.usable(NEVER), old)
  clock.jump(3_545_000)
  const callers = Promise.all([1, 2, 3].map(async () => await provider.usable(NEVER)))
  await settled()
  opened.open()
  const [first, ...others] = await callers
  t.not(first, old)
  for (const other of others) t.equal(other, first)
  t.equal(grant.held.length, 2)
})

t.test('row 10: a refresh token that rotates beside an access token that does not is kept', async (t) => {
  const clock = manualClock()
  const token = new Secret(mint())
  const vault = vaultOf(memoryStore())
  const grant = rotating(clock, async () => ({ accessToken: token, expiresAt: undefined }))
  const provider = providerOf(t, grant, clock, vault)
  const first = await provider.usable(NEVER)
  t.equal(await provider.renew(first, 'rejected', NEVER), first, 'which is no new credential')
  const kept = await vault.read<{ refresh_token: string, generation: number }>(recordName('credential', 'alice', 'tools'))
  t.equal(kept?.generation, first.generation)
  await clock.advance(250)
  await provider.renew(first, 'rejected', NEVER)
  t.equal(grant.held[2], kept?.refresh_token)
  t.equal(new Set(grant.held).size, 3)
})

t.test('row 5: a timer that waits for the store does not refresh once more what a caller has refreshed meanwhile', async (t) => {
  const clock = manualClock()
  const store = memoryStore()
  let full = true
  const opened = gate()
  const vault = vaultOf({ ...store, write: async (key, value) => { if (full) throw new Error(); await opened.opened; await store.write(key, value) } })
  const grant = rotating(clock)
  const provider = providerOf(t, grant, clock, vault)
  const first = await provider.usable(NEVER)
  full = false
  await clock.advance(1_000)
  const renewed = provider.renew(first, 'rejected', NEVER)
  opened.open()
  await renewed
  await settled()
  t.equal(grant.held.length, 2)
  t.equal(clock.timers, 1)
})

t.test('a first access token that is a JWT is used until shortly before its exp', async (t) => {
  const clock = manualClock()
  const jwt = `e30.${Buffer.from(JSON.stringify({ exp: clock.now() / 1000 + 60 })).toString('base64url')}.c2ln`
  const grant = { ...rotating(clock), seed: async () => ({ accessToken: new Secret(jwt), refreshToken: undefined }) }
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  await provider.warm()
  t.match(provider.status(), { state: 'valid', expiresAt: clock.now() + 60_000 })
  t.equal(grant.held.length, 0)
})

t.test('row 9: what only a person can bring about is told once and not tried by the clock, and counts as soon as it is there', async (t) => {
  const clock = manualClock()
  const grant = rotating(clock, async (_held, nth) => { if (nth < 3) throw new GrantError('unavailable', 'nobody has logged in yet', { dormant: true }); return {} })
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  await provider.warm()
  await clock.advance(24 * 3_600_000)
  t.equal(grant.held.length, 1)
  for (let call = 0; call < 2; call++) await t.rejects(provider.usable(clock.elapsed()), { code: 'ERR_CREDENTIAL_UNAVAILABLE' })
  t.equal(refreshes(provider.events).length, 1)
  await clock.advance(60_000)
  t.ok(await provider.usable(NEVER))
})

t.test('row 9: a call for somebody who has not logged in yet is answered at once, whether the first or a later one', async (t) => {
  const clock = manualClock()
  const grant = rotating(clock, async () => { throw new GrantError('unavailable', 'nobody has logged in yet', { dormant: true }) })
  const provider = providerOf(t, grant, clock, vaultOf(memoryStore()))
  const told: unknown[] = []
  for (let nth = 1; nth <= 2; nth++) {
    provider.usable(clock.elapsed() + 28_000).catch((error: unknown) => { told.push(error) })
    await settled()
    t.equal(told.length, nth)
  }
  t.match(told, [{ code: 'ERR_CREDENTIAL_UNAVAILABLE' }, { code: 'ERR_CREDENTIAL_UNAVAILABLE' }])
  t.equal(grant.held.length, 1)
})

t.test('row 9: a call that waits while somebody logs in gets the token of that login', async (t) => {
  const clock = manualClock()
  const [asked, loggedIn] = [gate(), gate()]
  const before = rotating(clock, async () => { asked.open(); await loggedIn.opened; throw new GrantError('unavailable', 'nobody has logged in yet', { dormant: true }) })
  const provider = providerOf(t, before, clock, vaultOf(memoryStore()))
  const waiting = provider.usable(clock.elapsed() + 28_000)
  await asked.opened
  provider.replace(rotating(clock), recordName('put-credential', 'alice', 'tools'))
  loggedIn.open()
  await settled()
  await clock.advance(0)
  t.ok(await waiting)
})
