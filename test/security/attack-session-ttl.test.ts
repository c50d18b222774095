import t from 'tap'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startUpstream } from '../helpers/upstream.js'

t.test('row 50: a session whose ttl is no length of time is not made, and none lives for ever by mistake', async (t) => {
  const upstream = await startUpstream(t)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: ${upstream.origin}/mcp } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: mintToken() } })
  for (const ttlMs of [NaN, Infinity, -Infinity, Number.MAX_VALUE, 0, -1]) {
    await t.rejects(sidecar.sessions.create({ principal: 'alice', agent: 'tester', ttlMs }), { code: 'ERR_REQUEST_INVALID', details: [{ path: 'ttl' }] }, String(ttlMs))
  }
  t.same(sidecar.sessions.list(), [])
  t.ok((await sidecar.sessions.create({ principal: 'alice', agent: 'tester', ttlMs: 1 })).expiresAt)
})
