import t from 'tap'
import { adminAlone } from '../../helpers/admin.js'

t.test('O2: readiness names each reason why the sidecar should get no calls now', async (t) => {
  let reasons: string[] = []
  const { app } = adminAlone(t, { unready: () => reasons })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  reasons = ['stopping', 'state']
  const answer = await app.inject('/readyz')
  t.same([answer.statusCode, answer.json()], [503, { status: 'unready', reasons }])
  t.equal((await app.inject('/healthz')).statusCode, 200, 'it lives all the same')
})
