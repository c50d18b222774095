import { join } from 'node:path'
import t from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { loadConfigText } from '../../src/config/load.js'
import { call } from '../helpers/call.js'
import { freshToken } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'
import { bearerOf } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

const LISTEN = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n'

t.test('row 52: the session key of a principal that is taken out of the config is good again when it comes back, there or elsewhere', async (t) => {
  const upstream = await startUpstream(t)
  const env = { ALICE: freshToken(), BOB: freshToken(), KEY: mintSessionKey().reveal(), OTHER: mintSessionKey().reveal() }
  const state = `state: { driver: lmdb, path: "${join(t.testdir(), 'state')}" }\n`
  const both = `upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } }, bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }, { principal: bob, agent: planner, key: { env: OTHER } }]
`
  const bobAlone = `upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } } }
sessions: [{ principal: bob, agent: planner, key: { env: KEY } }]
`
  const sidecar = await startSidecar(t, state + both, { env })
  const to = async (yaml: string): Promise<void> => await sidecar.reload(async () => loadConfigText(LISTEN + state + yaml, { env }))
  const url = `${sidecar.proxyUrl}/tools/mcp`
  t.equal((await call(url, { key: env.KEY })).status, 200)
  await to(bobAlone)
  t.equal((await call(url, { key: env.KEY })).status, 200, 'its key is another principal\'s now')
  t.equal(bearerOf(upstream.seen.at(-1)), env.BOB)
  await to(both)
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(bearerOf(upstream.seen.at(-1)), env.ALICE)
  t.equal((await call(url, { key: env.OTHER })).status, 200)
  t.notOk(sidecar.events.some(({ event }) => event === 'session_revoked'), 'nobody has revoked anything')
})
