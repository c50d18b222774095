import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import type { CredentialSource } from '../../../src/credential/credential.js'
import { Grants } from '../../../src/credential/grants/index.js'
import { Subjects } from '../../../src/credential/subjects.js'
import type { Caller } from '../../../src/exchange.js'
import { Secret } from '../../../src/secret.js'
import { memoryStore } from '../../../src/state/memory.js'
import { Seal, StateKey } from '../../../src/state/seal.js'
import { Vault } from '../../../src/state/vault.js'
import type { RefreshEvent, ValetEvent } from '../../../src/telemetry/events.js'
import { startExchange, type ExchangeOptions, type ExchangeServer } from '../../helpers/exchange-server.js'
import { startJwtIssuer } from '../../helpers/jwt-issuer.js'
import { manualClock, type ManualClock } from '../../helpers/manual-clock.js'
import { eventually } from '../../helpers/peers.js'

const MINUTE = 60_000

interface Scene {
  readonly clock: ManualClock
  readonly server: ExchangeServer
  readonly subjects: Subjects
  readonly events: ValetEvent[]
  /** A caller with a new JWT that is good for `seconds`. */
  caller (seconds?: number, principal?: string): Promise<Caller>
}

async function scene (t: Test, options: ExchangeOptions & { most?: number, credential?: string, principals?: string } = {}): Promise<Scene> {
  const clock = manualClock()
  const now = (): number => clock.now()
  const issuer = await startJwtIssuer(t, { now })
  const server = await startExchange(t, issuer, { now, ...options })
  const config = loadConfigText(`
callers: { jwt: { issuer: "${issuer.url}", audience: mcp-valet } }
upstreams:
  tools: { url: "http://127.0.0.1:1/mcp", credential: { type: token_exchange, ${options.credential?.replace('ORIGIN', server.origin) ?? `token_endpoint: "${server.endpoint}"`} } }
  other: { url: "http://127.0.0.1:1/mcp", credential: { type: token_exchange, token_endpoint: "${server.endpoint}", audience: other } }
  plain: { url: "http://127.0.0.1:1/mcp" }
${options.principals ?? ''}`, { env: {} })
  const store = memoryStore()
  const vault = new Vault({
    ...store,
    read: async () => t.fail('nothing of it is looked for in the state') as never,
    write: async () => t.fail('nothing of it is kept in the state') as never,
  }, new Seal(StateKey.random()))
  const events: ValetEvent[] = []
  const subjects = new Subjects({ config, vault, clock, grants: new Grants(clock), emit: (event) => events.push(event), ...(options.most === undefined ? {} : { most: options.most }) })
  t.teardown(async () => await subjects.close())
  return {
    clock,
    server,
    subjects,
    events,
    async caller (seconds = 3600, principal = 'alice') {
      const exp = Math.floor(clock.now() / 1000) + seconds
      const token = await issuer.sign({ exp, sub: principal })
      const digest = createHash('sha256').update(token).digest('base64url')
      return { session: 'jwt_x', principal, agent: 'jwt', expiresAt: exp * 1000 + 30_000, subject: { token: new Secret(token), digest, expiresAt: exp * 1000 } }
    },
  }
}

const tokenOf = async (source: CredentialSource | undefined, clock: ManualClock): Promise<string | undefined> =>
  (await source?.usable(clock.elapsed() + 30_000))?.token.reveal()
const refreshes = (events: ValetEvent[]): RefreshEvent[] => events.filter((event): event is RefreshEvent => event.event === 'refresh')

t.test('row 4: each JWT has a credential of its own at each upstream, also of one principal', async (t) => {
  const { clock, server, subjects, events, caller } = await scene(t)
  const [one, two] = [await caller(), await caller()]
  const found = [subjects.find(one, 'tools'), subjects.find(two, 'tools'), subjects.find(one, 'other')]
  t.equal(new Set(found).size, 3)
  t.equal(subjects.find(one, 'tools'), found[0], 'the same one each time')
  t.equal(subjects.find({ ...one, principal: 'bob' }, 'tools') === found[0], false, 'were there two principals to a JWT, they would not share it either')
  const tokens = await Promise.all(found.map(async (source) => await tokenOf(source, clock)))
  t.equal(new Set(tokens).size, 3)
  t.same(server.requests.map(({ form }) => [form.get('subject_token'), form.get('audience')]).sort(), [
    [one.subject?.token.reveal(), null], [two.subject?.token.reveal(), null], [one.subject?.token.reveal(), 'other'],
  ].sort())
  t.match(refreshes(events), [{ type: 'token_exchange', principal: 'alice', outcome: 'ok' }, {}, {}])
})

t.test('a caller without a JWT, and an upstream that says nothing of an exchange, have none', async (t) => {
  const { subjects, caller } = await scene(t)
  const { subject: _, ...keyed } = await caller()
  t.equal(subjects.find(keyed, 'tools'), undefined)
  t.equal(subjects.find(await caller(), 'plain'), undefined)
  t.equal(subjects.find(await caller(), 'nowhere'), undefined)
  t.equal(subjects.size, 0)
})

t.test('what the config says of a principal counts for it', async (t) => {
  const { clock, server, subjects, caller } = await scene(t, {
    principals: `principals:
  alice: { credentials: { tools: { scope: own }, other: { type: api_token, token: { env: T } } } }
  bob: {}`,
  })
  t.ok(await tokenOf(subjects.find(await caller(), 'tools'), clock))
  t.equal(server.requests[0]?.form.get('scope'), 'own')
  t.equal(subjects.find(await caller(), 'other'), undefined, 'it has a credential of its own there, of another type')
  t.ok(await tokenOf(subjects.find(await caller(60, 'bob'), 'tools'), clock))
  t.equal(server.requests[1]?.form.get('scope'), null)
})

t.test('an issuer is discovered once, not for each caller', async (t) => {
  const found = await scene(t, {
    credential: 'issuer: "ORIGIN"',
    instead: ({ path, headers }) => path.startsWith('/.well-known/')
      ? { body: { issuer: `http://${String(headers.host)}`, token_endpoint: `http://${String(headers.host)}/token` } }
      : undefined,
  })
  const callers = await Promise.all(Array.from({ length: 20 }, async () => await found.caller()))
  const tokens = await Promise.all(callers.map(async (caller) => await tokenOf(found.subjects.find(caller, 'tools'), found.clock)))
  t.equal(new Set(tokens).size, 20)
  t.equal(found.server.requests.filter(({ path }) => path !== '/token').length, 1)
})

t.test('it is renewed ahead of its expiry for as long as its JWT lives, and not once more', async (t) => {
  const { clock, server, subjects, events, caller } = await scene(t, { expiresIn: 100 })
  const alice = await caller(300)
  t.ok(await tokenOf(subjects.find(alice, 'tools'), clock))
  for (const renewals of [2, 3, 4]) {
    await clock.advance(75_000)
    // The answer comes over a socket, and the next renewal is planned with it.
    await eventually(() => refreshes(events).length === renewals)
    subjects.find(alice, 'tools')
  }
  await clock.advance(74_000)
  const before = server.requests.length
  t.equal(before, 4)
  await clock.advance(1_000)
  t.equal(subjects.size, 0)
  t.equal(clock.timers, 0, 'nothing waits for it any more')
  await clock.advance(60 * MINUTE)
  t.equal(server.requests.length, before)
  t.same(refreshes(events).filter(({ outcome }) => outcome !== 'ok'), [])
})

t.test('within the tolerance for clocks that differ, it is for the issuer to say whether it takes the JWT', async (t) => {
  const { clock, subjects, caller } = await scene(t)
  const late = await caller(-10)
  const source = subjects.find(late, 'tools')
  t.equal(subjects.find(late, 'tools'), source)
  await t.rejects((source as CredentialSource).usable(clock.elapsed() + 1), { code: 'ERR_CREDENTIAL_UNAVAILABLE' }, 'this one does not')
  await clock.advance(20_000)
  t.equal(subjects.size, 0)
  t.equal(clock.timers, 0)
})

t.test('one that nobody uses is let go, and had anew when it is wanted again', async (t) => {
  const { clock, server, subjects, caller } = await scene(t, { expiresIn: 7200 })
  const alice = await caller(7200)
  const source = subjects.find(alice, 'tools')
  t.ok(await tokenOf(source, clock))
  await clock.advance(9 * MINUTE)
  t.equal(subjects.find(alice, 'tools'), source)
  await clock.advance(9 * MINUTE)
  t.equal(subjects.size, 1, 'it was used nine minutes ago')
  await clock.advance(1 * MINUTE)
  t.equal(subjects.size, 0)
  t.equal(clock.timers, 0)
  t.ok(await tokenOf(subjects.find(alice, 'tools'), clock))
  t.equal(server.requests.length, 2)
})

t.test('there is a bound, at which the one that was not used for longest gives way', async (t) => {
  const { clock, subjects, caller } = await scene(t, { most: 3 })
  const callers = await Promise.all([1, 2, 3, 4].map(async () => await caller()))
  const [first, second, third] = callers.map((caller) => {
    subjects.find(callers[0] as Caller, 'tools')
    return subjects.find(caller, 'tools')
  })
  t.equal(subjects.size, 3)
  t.equal(subjects.find(callers[0] as Caller, 'tools'), first, 'this one was used all the time')
  t.equal(subjects.find(callers[2] as Caller, 'tools'), third)
  t.equal(clock.timers, 3)
  await t.rejects((second as CredentialSource).usable(clock.elapsed() + 1_000), { cause: { reason: /come to its end/ } }, 'and asks for nothing any more')
  await Promise.all(callers.map(async (caller) => await tokenOf(subjects.find(caller, 'tools'), clock)))
  await subjects.close()
  t.equal(subjects.size, 0)
  t.equal(clock.timers, 0)
})

t.test('an exchange that was under way when its credential gave way still answers whoever waits', async (t) => {
  const { clock, server, subjects, caller } = await scene(t, { most: 1 })
  const waiting = tokenOf(subjects.find(await caller(), 'tools'), clock)
  await server.arrived(1)
  subjects.find(await caller(), 'tools')
  t.match(await waiting, /^ex_/)
})
