import t from 'tap'
import { call, errorCode, rpc } from '../helpers/call.js'
import { startFeatures } from '../helpers/feature-server.js'
import { freshToken } from '../helpers/peers.js'
import { startSidecar } from '../helpers/sidecar.js'

const VERSION = '2026-07-28'
const META = {
  'io.modelcontextprotocol/protocolVersion': VERSION,
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
  'io.modelcontextprotocol/clientCapabilities': {},
}
const ADD = rpc('tools/call', { name: 'add', arguments: { a: 1, b: 2 }, _meta: META }, 'x7')
const LIST = rpc('tools/list', { _meta: META }, 8)

for (const [what, headers, body] of [
  ['another method', { 'mcp-method': 'tools/list', 'mcp-name': 'add' }, ADD],
  ['a method in another case', { 'mcp-method': 'TOOLS/LIST' }, LIST],
  ['another tool', { 'mcp-method': 'tools/call', 'mcp-name': 'confirm' }, ADD],
] as const) {
  t.test(`T2: behind a tool policy a call with ${what} in its headers is answered as the server answers it`, async (t) => {
    const { origin } = await startFeatures(t, { eras: 'modern' })
    const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${origin}/mcp", tools: { deny: [wait] } } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`, { env: { TOKEN: freshToken() } })
    const all = { ...headers, 'mcp-protocol-version': VERSION }
    const direct = await call(`${origin}/mcp`, { body, headers: all })
    const through = await call(`${sidecar.proxyUrl}/tools/mcp`, { body, headers: all, key: await sidecar.keyFor('alice') })

    t.match(direct.json(), { error: { code: -32020 } }, 'HeaderMismatch')
    for (const answer of [direct, through]) {
      const { id, error } = answer.json() as { id: unknown, error: { code: number } }
      t.same([answer.status, id, error.code], [400, (JSON.parse(body) as { id: unknown }).id, -32020])
    }
    t.equal(errorCode(through), 'ERR_HEADER_MISMATCH', 'and the policy has judged it')
  })
}
