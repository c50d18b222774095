import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { InMemoryEventStore } from '@modelcontextprotocol/sdk/examples/shared/inMemoryEventStore.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import t, { type Test } from 'tap'
import { createBearerCheck } from '../../src/demo/bearer.js'
import { listen, shut } from '../../src/demo/http.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { PATTERNS } from '../helpers/hidden.js'
import { connectSdk, SDKS } from '../helpers/sdk-clients.js'
import { startSidecar } from '../helpers/sidecar.js'

t.jobs = 2
const LIFETIME = 60

/** Where a server says that a JWT has expired: before the SDK's transport, or in a tool that asks a service behind it. */
type Hides = 'an error' | 'a result'
type Mode = 'json' | 'sse' | 'sse with a priming event'

/**
 * An official server (SDK 1.32, with sessions) that checks real JWTs and never answers 401. Its clock and that of the issuer
 * can be moved on, so that tokens are past their `exp` of which the sidecar does not know.
 */
async function setStage (t: Test, hides: Hides, mode: Mode) {
  let ahead = 0
  const now = (): number => Date.now() + ahead
  const issuer = await createIssuer({ audience: 'urn:crm', lifetime: LIFETIME, now })
  t.teardown(async () => { await issuer.close() })
  const check = createBearerCheck({ issuer: issuer.url, jwks: issuer.jwks, audience: () => 'urn:crm', now })
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const booked: string[] = []
  let refusals = 0

  let isShut = false

  function serve (): Server {
    const mcp = new Server({ name: 'crm', version: '1.0.0' }, { capabilities: { tools: {} } })
    mcp.setRequestHandler(CallToolRequestSchema, async ({ params }, { authInfo }) => {
      const what = String(params.arguments?.what)
      if (isShut || authInfo?.extra?.refused !== undefined) {
        refusals++
        return { isError: true, content: [{ type: 'text', text: 'The service refused.' }], structuredContent: { error: { code: 'TOKEN_EXPIRED' } } }
      }
      booked.push(what)
      return { content: [{ type: 'text', text: `booked ${what}` }] }
    })
    return mcp
  }

  async function session (request: IncomingMessage): Promise<StreamableHTTPServerTransport> {
    const known = sessions.get(String(request.headers['mcp-session-id']))
    if (known !== undefined) return known
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: mode === 'json',
      ...(mode === 'sse with a priming event' ? { eventStore: new InMemoryEventStore(), retryInterval: 100 } : {}),
      onsessioninitialized: (id) => { sessions.set(id, transport) },
    })
    await serve().connect(transport as never)
    return transport
  }

  const server = createServer((request, response) => {
    void (async () => {
      const verdict = await check(request)
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const body = chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString()) as { id?: unknown }
      if (verdict.refused !== undefined && hides === 'an error' && body !== undefined) {
        refusals++
        response.writeHead(200, { 'content-type': 'application/json' })
        return response.end(JSON.stringify({ jsonrpc: '2.0', id: body.id ?? null, error: { code: -32000, message: 'Sign in again', data: { reason: 'token_expired' } } }))
      }
      const auth = { token: '', clientId: 'demo', scopes: [], extra: { refused: verdict.refused } }
      await (await session(request)).handleRequest(Object.assign(request, { auth }), response, body)
    })()
  })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  t.teardown(async () => {
    for (const transport of sessions.values()) await transport.close()
    await shut(server)
  })

  const login = await issuer.login('alice')
  const sidecar = await startSidecar(t, `
upstreams: { crm: { url: "${origin}/mcp", ${PATTERNS} } }
principals:
  alice: { credentials: { crm: { type: refresh_token, issuer: "${issuer.url}", client_id: demo, refresh_token: { env: RT }, access_token: { env: AT }, resource: "urn:crm" } } }
`, { env: { RT: login.refresh_token, AT: login.access_token } })
  return {
    sidecar,
    url: `${sidecar.proxyUrl}/crm/mcp`,
    headers: { 'X-Session-Key': await sidecar.keyFor('alice') },
    booked,
    refusals: () => refusals,
    renewals: () => sidecar.events.filter((event) => event.event === 'refresh' && event.trigger === 'rejected' && event.outcome === 'ok').length,
    /** The tool refuses every token from now on. */
    shut () { isShut = true },
    expire () { ahead += (LIFETIME + 1) * 1000 },
  }
}

for (const sdk of SDKS) {
  for (const hides of ['an error', 'a result'] as const) {
    for (const mode of ['json', 'sse', 'sse with a priming event'] as const) {
      t.test(`F2: ${sdk} → a server on the SDK whose JWT expires, hidden in ${hides}, as ${mode}`, { buffered: true }, async (t) => {
        const stage = await setStage(t, hides, mode)
        const agent = await connectSdk(t, sdk, stage.url, stage)
        for (const what of ['a', 'b', 'c']) {
          stage.expire()
          t.match(await agent.call('book', { what }), { content: [{ text: `booked ${what}` }] })
        }
        await Promise.all(['d', 'e'].map(async (what) => await agent.call('book', { what })))
        t.same(stage.booked.slice().sort(), ['a', 'b', 'c', 'd', 'e'], 'each once')
        t.equal(stage.renewals(), 3)
        t.ok(stage.refusals() >= 3)
        t.same(agent.errors, [])
        t.ok(agent.answers.filter(({ method }) => method === 'POST').every(({ status }) => status < 300))
      })
    }
  }
}

t.test('F2: an agent of a server that refuses for good reads the server\'s own words, for one renewal', async (t) => {
  const stage = await setStage(t, 'a result', 'sse')
  const agent = await connectSdk(t, 'sdk 1.32', stage.url, stage)
  stage.shut()
  for (let i = 0; i < 3; i++) t.match(await agent.call('book', { what: 'a' }), { isError: true, content: [{ text: 'The service refused.' }] })
  t.same([stage.renewals(), stage.refusals(), stage.booked], [1, 4, []])
})
