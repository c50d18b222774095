import t from 'tap'
import type { SecretRef } from '../../../src/config/config.js'
import { Secret } from '../../../src/secret.js'
import { connectOptions } from '../../../src/upstream/tls.js'

const ref = (value: string): SecretRef => ({ source: 'env X', read: async () => new Secret(value) })
const none = { ca: undefined, cert: undefined, key: undefined, serverName: undefined }

t.test('row 36: verification is always on, whatever else is given', async (t) => {
  t.same(await connectOptions(none, 5), { timeout: 5, rejectUnauthorized: true, allowH2: false })
  t.same(await connectOptions({ ca: ref('a'), cert: ref('c'), key: ref('k'), serverName: 's' }, 5), {
    timeout: 5, rejectUnauthorized: true, allowH2: false, ca: 'a', cert: 'c', key: 'k', servername: 's',
  })
})
