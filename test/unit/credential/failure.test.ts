import fc from 'fast-check'
import t from 'tap'
import { asGrantError, barrenWait, nextFailure, unavailable, type Failure } from '../../../src/credential/failure.js'
import { GrantError, type GrantErrorKind } from '../../../src/credential/grants/grant.js'
import { StateError } from '../../../src/state/store.js'

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const kinds = fc.constantFrom<GrantErrorKind>('revoked', 'unchanged', 'unavailable')

t.test('row 9: the wait after failures never shrinks but by jitter, is at least 200 ms and at most a minute', async () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 2_000 }), kinds, chance, fc.integer({ min: 0, max: 1e12 }), (failures, kind, random, now) => {
    let failure: Failure | undefined
    let before = 0
    for (let nth = 1; nth <= failures; nth++) {
      failure = nextFailure(failure, new GrantError(kind, ''), now, random)
      const wait = failure.retryAt - now
      if (failure.count !== nth || !(wait >= 199.9) || wait > 60_001 || wait < before - 0.1) return false
      before = wait
    }
    return true
  }), { numRuns: 50 })
})

t.test('row 8: Retry-After counts where it asks for more, with up to a fifth on top', async () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 300_000 }), chance, (retryAfter, random) => {
    const { retryAt } = nextFailure(undefined, new GrantError('unavailable', '', { retryAfter }), 0, random)
    return retryAt >= retryAfter && retryAt <= Math.max(250, retryAfter * 1.2)
  }))
})

t.test('row 8: a Retry-After that is no number from 0 on is left aside, and five minutes are the most', async (t) => {
  for (const wrong of [NaN, Infinity, -Infinity, -1, '30', null] as number[]) t.equal(nextFailure(undefined, new GrantError('unavailable', '', { retryAfter: wrong }), 0, 0).retryAt, 250, String(wrong))
  t.equal(nextFailure(undefined, new GrantError('unavailable', '', { retryAfter: 30 * 86_400_000 }), 0, 0).retryAt, 300_000)
})

t.test('row 9: a source that is unchanged is looked at again within 10 s', async (t) => {
  const error = new GrantError('unchanged', '')
  t.equal(nextFailure({ error, count: 50, retryAt: 0 }, error, 0, 0).retryAt, 10_000)
})

t.test('row 9: and when its token comes to its end, where it is the first failure should there be one', async (t) => {
  const unchanged = new GrantError('unchanged', '')
  const before = { error: unchanged, count: 50, retryAt: 0 }
  t.equal(nextFailure(before, unchanged, 0, 0, 3_000).retryAt, 3_000)
  t.equal(nextFailure(before, unchanged, 0, 0, 0).retryAt, 250, 'but not all the time')
  t.match(nextFailure(before, new GrantError('unavailable', ''), 0, 0, 3_000), { count: 1, retryAt: 250 })
  t.match(nextFailure({ ...before, error: new GrantError('unavailable', '') }, unchanged, 0, 0), { count: 51 })
})

t.test('row 25: tokens that are refused one after the other are renewed ever more seldom', async (t) => {
  t.same([0, 1, 2, 3, 20].map(barrenWait), [0, 0, 500, 1_000, 60_000])
  fc.assert(fc.property(fc.integer({ min: 0, max: 5_000 }), (count) => barrenWait(count + 1) >= barrenWait(count)))
})

t.test('what went wrong is told in known words', async (t) => {
  const own = new GrantError('revoked', 'why')
  t.equal(asGrantError(own), own)
  t.match(asGrantError(new StateError('the record is gone')), { kind: 'unavailable', reason: 'the record is gone' })
  t.match(asGrantError(new Error('token abc')), { kind: 'unavailable', reason: 'the renewal failed inside mcp-valet' })
  t.match(unavailable(own, 0), { code: 'ERR_CREDENTIAL_UNAVAILABLE', retryAfter: 1, cause: own })
  t.equal(unavailable(own, 1_001).retryAfter, 2)
})
