import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { secretFiles } from '../../../src/config/secret-files.js'

t.test('row 52: every file with a secret is known, wherever the config has it, but for those of the state', async (t) => {
  const config = loadConfigText(`
admin: { token: { file: /run/admin } }
state: { driver: lmdb, key: { file: /run/state } }
upstreams:
  tools:
    url: https://mcp.example/mcp
    tls: { ca: /run/ca.pem, cert: /run/cert.pem, key: { file: /run/tls-key } }
    credential: { type: json_refresh, url: https://id.example/refresh, body: { deep: [{ secret: { file: /run/deep } }] }, headers: { X-Key: { file: /run/header } }, response: { access_token: /a } }
principals:
  alice: { credentials: { tools: { refresh_token: { file: /run/rt } } } }
  bob: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } }
sessions:
  - { principal: alice, agent: a, key: { file: "/run/with space" } }
  - { principal: bob, agent: b, key: { env: KEY } }
`, { env: {} })
  const files = secretFiles(config)
  t.same([...files.keys()].sort(), ['/run/admin', '/run/ca.pem', '/run/cert.pem', '/run/deep', '/run/header', '/run/rt', '/run/tls-key', '/run/with space'])
  t.equal(files.get('/run/rt'), 'file /run/rt')
})
