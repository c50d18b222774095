import t from 'tap'
import { createAdmin } from '../../../src/http/admin.js'
import { LIMITS } from '../../../src/http/server.js'

t.test('O2: readiness names each reason why the sidecar should get no calls now', async (t) => {
  let reasons: string[] = []
  const app = createAdmin({ limits: LIMITS, metrics: { observe: () => {}, expose: async () => ({ type: 'text/plain', text: '' }) }, unready: () => reasons })
  t.teardown(async () => await app.close())
  t.equal((await app.inject('/readyz')).statusCode, 200)
  reasons = ['stopping', 'state']
  const answer = await app.inject('/readyz')
  t.same([answer.statusCode, answer.json()], [503, { status: 'unready', reasons }])
  t.equal((await app.inject('/healthz')).statusCode, 200, 'it lives all the same')
})
