import t from 'tap'
import { readTtl } from '../../../src/http/admin/ttl.js'

t.test('a ttl is a duration, or seconds', async (t) => {
  for (const [given, ms] of [['1s', 1_000], ['15m', 900_000], ['2h', 7_200_000], ['30d', 2_592_000_000], ['3650d', 315_360_000_000], [1, 1_000], [7200, 7_200_000], [315_360_000, 315_360_000_000]] as const) {
    t.equal(readTtl(given), ms, String(given))
  }
})

t.test('anything else is refused, and nothing lives for ever by mistake', async (t) => {
  for (const given of ['', '0s', '2', '2x', '2 h', '-2h', '1.5h', '250ms', '3651d', '999999999d', '2h ', 'Infinity', 0, -1, 1.5, NaN, Infinity, 315_360_001, 1e21]) {
    t.throws(() => readTtl(given), { code: 'ERR_REQUEST_INVALID', details: [{ path: 'ttl' }] }, String(given))
  }
})
