import * as crypto from 'node:crypto'
import t, { type Test } from 'tap'
import { Directory } from '../../../src/caller/directory.js'
import { hashSessionKey, isSessionKey, mintSessionKey } from '../../../src/caller/session-key.js'
import { Secret } from '../../../src/secret.js'
import { testClock } from '../../helpers/clock.js'
import { openSession } from '../../helpers/open-session.js'

const pepper = crypto.createSecretKey(crypto.randomBytes(32))
const ALICE = { principal: 'alice', agent: 'planner' }
const HOUR = 3_600_000

t.test('row 50: a key is vk_ and 43 characters of base64url, and new each time', (t) => {
  const keys = Array.from({ length: 100 }, () => mintSessionKey().reveal())
  for (const key of keys) t.ok(isSessionKey(key), 'has the shape')
  t.equal(new Set(keys).size, keys.length)
  t.end()
})

t.test('T1: a session carries its rules on tools, and one without has none', async (t) => {
  const directory = new Directory(pepper, testClock())
  const tools = { allow: ['search_*'], deny: [] }
  const [narrow, without] = [openSession(directory, { ...ALICE, tools }), openSession(directory, ALICE)]
  t.equal((directory.find(narrow.key.reveal()) as { tools?: object }).tools, tools)
  t.equal((directory.find(without.key.reveal()) as { tools?: object }).tools, undefined)
  t.same(directory.list().map((session) => session.tools), [tools, undefined])
})

for (const text of ['', 'vk_', 'vk_' + 'a'.repeat(42), 'vk_' + 'a'.repeat(44), 'VK_' + 'a'.repeat(43), 'vk_' + 'a'.repeat(42) + '=', 'vk_' + 'a'.repeat(42) + '\n', ' vk_' + 'a'.repeat(42)]) {
  t.test(`row 50: ${JSON.stringify(text)} is no session key`, (t) => {
    t.notOk(isSessionKey(text))
    t.end()
  })
}

t.test('row 50: what is kept of a key depends on the pepper, and is no key', (t) => {
  const key = mintSessionKey().reveal()
  t.notSame(hashSessionKey(pepper, key), hashSessionKey(crypto.createSecretKey(crypto.randomBytes(32)), key))
  const directory = new Directory(pepper, testClock())
  openSession(directory, ALICE, new Secret(key))
  t.notMatch(JSON.stringify(directory.list()), key)
  t.end()
})

/** Counts what costs time: the hash and the comparison. */
async function counted (t: Test) {
  const calls: string[] = []
  const counting = {
    ...crypto,
    createHmac: (...args: Parameters<typeof crypto.createHmac>) => {
      const hmac = crypto.createHmac(...args)
      const update = hmac.update.bind(hmac)
      hmac.update = ((text: string) => { calls.push(`hmac of ${text.length}`); return update(text) }) as typeof hmac.update
      return hmac
    },
    timingSafeEqual: (a: Buffer, b: Buffer) => { calls.push(`compare ${a.length} with ${b.length}`); return crypto.timingSafeEqual(a, b) },
  }
  const sessionKey = await t.mockImport('../../../src/caller/session-key.js', { 'node:crypto': counting })
  const { Directory } = await t.mockImport<typeof import('../../../src/caller/directory.js')>('../../../src/caller/directory.js', {
    'node:crypto': counting, '../../../src/caller/session-key.js': sessionKey,
  })
  const workOf = (work: () => unknown): string[] => {
    calls.length = 0
    work()
    return calls.slice()
  }
  return { Directory, workOf }
}

t.test('row 50: whatever is wrong with a key, the same work is done', async (t) => {
  const { Directory, workOf } = await counted(t)
  const clock = testClock()
  const directory = new Directory(pepper, clock)
  const good = openSession(directory, ALICE).key.reveal()
  const expired = openSession(directory, { ...ALICE, expiresAt: clock.now() - 1 }).key.reveal()
  const revoked = openSession(directory, ALICE)
  directory.revoke(revoked.session.id)
  const reference = workOf(() => directory.find(good))
  t.same(reference, ['hmac of 46', 'compare 32 with 32'])
  for (const key of [expired, revoked.key.reveal(), mintSessionKey().reveal(), good.slice(0, -1), good + 'a', good.toUpperCase(), '', 'a'.repeat(10_000)]) {
    t.same(workOf(() => directory.find(key)), reference)
  }
})

t.test('row 50: a key whose hash stands in for malformed ones opens its own session only', (t) => {
  const directory = new Directory(pepper, testClock())
  const zeros = 'vk_' + '0'.repeat(43)
  const { session } = openSession(directory, ALICE, new Secret(zeros))
  t.match(directory.find(zeros), { session: session.id })
  t.equal(directory.find('malformed'), 'ERR_SESSION_UNKNOWN')
  t.end()
})

t.test('row 50: a session ends at its expiry to the millisecond', (t) => {
  let now = 1_000
  const directory = new Directory(pepper, { ...testClock(), now: () => now })
  const key = openSession(directory, { ...ALICE, expiresAt: 2_000 }).key.reveal()
  now = 1_999
  t.match(directory.find(key), { principal: 'alice', agent: 'planner' })
  now = 2_000
  t.equal(directory.find(key), 'ERR_SESSION_EXPIRED')
  t.end()
})

t.test('row 50: revoking what is not there says so, once and again', (t) => {
  const directory = new Directory(pepper, testClock())
  const { session } = openSession(directory, ALICE)
  t.same([directory.revoke('ses_none'), directory.revoke(session.id), directory.revoke(session.id)], [false, true, false])
  t.same(directory.list(), [])
  t.end()
})

t.test('row 50: a key opens one session, and a word that is no key opens none', (t) => {
  const directory = new Directory(pepper, testClock())
  const key = mintSessionKey()
  const { session } = openSession(directory, ALICE, key)
  t.equal(directory.draft({ principal: 'bob', agent: 'x' }, key, 'config').session.id, session.id, 'by which the other one is known to be in use')
  t.throws(() => openSession(directory, ALICE, new Secret('password')), { name: 'RangeError', message: /mcp-valet keygen/ })
  t.end()
})

t.test('row 53: sessions long expired are forgotten, so that memory does not grow for ever', (t) => {
  let now = 0
  const directory = new Directory(pepper, { ...testClock(), now: () => now })
  const lasting = openSession(directory, ALICE).key.reveal()
  const recent = openSession(directory, { ...ALICE, expiresAt: 100 * HOUR }).key.reveal()
  const agents = 5_000
  for (let i = 0; i < agents; i++) {
    now = i * HOUR / 10
    openSession(directory, { ...ALICE, agent: `agent ${i}`, expiresAt: now + HOUR })
  }
  t.ok(directory.list().length < 1_500, `${directory.list().length} of ${agents} are left`)
  t.match(directory.find(lasting), { principal: 'alice' })
  t.equal(directory.find(recent), 'ERR_SESSION_UNKNOWN')
  t.end()
})

t.test('row 53: sessions that are good are never forgotten', (t) => {
  const directory = new Directory(pepper, testClock())
  const keys = Array.from({ length: 3_000 }, () => openSession(directory, ALICE).key.reveal())
  t.ok(keys.every((key) => typeof directory.find(key) === 'object'))
  t.end()
})
