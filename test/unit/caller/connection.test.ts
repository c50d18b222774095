import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { Directory } from '../../../src/caller/directory.js'
import { testClock } from '../../helpers/clock.js'
import { openSession } from '../../helpers/open-session.js'

t.test('row 50: a connection that has shown a key is still asked what the key opens now', async (t) => {
  const clock = testClock()
  const directory = new Directory(createSecretKey(randomBytes(32)), clock)
  const connection = {}
  const first = openSession(directory, { principal: 'alice', agent: 'a', expiresAt: clock.now() + 60_000 })
  const second = openSession(directory, { principal: 'bob', agent: 'b' })
  const key = first.key.reveal()

  t.match(directory.find(key, connection), { principal: 'alice' })
  t.match(directory.find(key, connection), { principal: 'alice' }, 'the second time by what is remembered')
  t.match(directory.find(second.key.reveal(), connection), { principal: 'bob' }, 'another key on the same connection is another session')
  t.match(directory.find(key, connection), { principal: 'alice' })
  clock.jump(61_000)
  t.equal(directory.find(key, connection), 'ERR_SESSION_EXPIRED')
  clock.jump(-61_000)
  t.match(directory.find(key, connection), { principal: 'alice' })
  directory.revoke(first.session.id)
  t.equal(directory.find(key, connection), 'ERR_SESSION_UNKNOWN', 'what is remembered outlives no revocation')
  t.equal(directory.find(key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A'), connection), 'ERR_SESSION_UNKNOWN')
})
