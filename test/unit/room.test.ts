import t from 'tap'
import { ValetError } from '../../src/errors.js'
import { Room, roomHere, type Share } from '../../src/room.js'

const KIB = 1024
const ALICE = { principal: 'alice', agent: 'planner' }
const BOB = { principal: 'bob', agent: 'planner' }

/** How many calls find room for so many bytes each. */
function fill (room: Room, holder: typeof ALICE | undefined, bytes: number): Share[] {
  const shares: Share[] = []
  for (;;) {
    const share = room.share(holder)
    try {
      share.hold('request', bytes)
    } catch (error) {
      if (error instanceof ValetError && error.code === 'ERR_OVERLOADED') return shares
      throw error
    }
    shares.push(share)
    if (shares.length > 1_000) throw new Error('it has no end')
  }
}

t.test('row 43: one agent alone may hold half of the room, the next one half of the rest', async (t) => {
  const room = new Room(8_000 * KIB)
  t.equal(fill(room, ALICE, 100 * KIB).length, 40)
  t.equal(fill(room, BOB, 100 * KIB).length, 20)
  t.equal(fill(room, { principal: 'alice', agent: 'critic' }, 100 * KIB).length, 10, 'each agent of a principal by itself')
  t.equal(fill(room, undefined, 100 * KIB).length, 5, 'and all together who are nobody')
})

t.test('row 43: what a call gives back is there for the next one', async (t) => {
  const room = new Room(8_000 * KIB)
  const shares = fill(room, ALICE, 100 * KIB)
  for (const share of shares) {
    share.end()
    share.end()
    share.hold('request', 100 * KIB)
  }
  t.equal(fill(room, ALICE, 100 * KIB).length, shares.length, 'and one that has ended takes none any more')
})

t.test('row 43: a call holds what it holds now, of both its parts', async (t) => {
  const room = new Room(8_000 * KIB)
  const share = room.share(ALICE)
  share.hold('request', 2_000 * KIB)
  share.hold('answer', 2_000 * KIB)
  t.throws(() => share.hold('answer', 2_001 * KIB), { code: 'ERR_OVERLOADED', retryAfter: 1, cause: 'no room for 0.0 MiB more: the calls of this agent hold 3.9 MiB already, and those of all 3.9 MiB of 7.8 MiB' })
  share.hold('answer', 100 * KIB)
  t.equal(fill(room, ALICE, 100 * KIB).length, 19)
})

t.test('what is small is not counted', async (t) => {
  const room = new Room(0)
  const share = room.share(ALICE)
  share.hold('request', 16 * KIB)
  t.throws(() => share.hold('answer', 1), { code: 'ERR_OVERLOADED' })
})

t.test('a call of the largest body that the config allows finds room, however little there is', async (t) => {
  const room = new Room(100 * KIB)
  room.fit(1_000 * KIB)
  room.fit(10)
  room.share(ALICE).hold('request', 1_000 * KIB)
  t.throws(() => room.share(BOB).hold('request', 501 * KIB), { code: 'ERR_OVERLOADED' })
  t.end()
})

t.test('the room here is between 64 MiB and 1 GiB', async (t) => {
  t.ok(roomHere() >= 64 * KIB * KIB && roomHere() <= KIB ** 3)
})
