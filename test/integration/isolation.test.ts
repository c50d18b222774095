import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createBearerCheck } from '../../src/demo/bearer.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { rpc } from '../helpers/call.js'
import { startNaive } from '../helpers/naive-server.js'
import { connectSdk } from '../helpers/sdk-clients.js'
import { startSidecar } from '../helpers/sidecar.js'

/** How long they go on; longer in the full check. */
const SECONDS = Number(process.env.MCP_VALET_ISOLATION_SECONDS ?? 10)
const AGENTS = 100
const PRINCIPALS = 10
const TOOLS = Array.from({ length: 10 }, (_, i) => `tool_${i}`)
/** Seconds; a second or so less at the server, as `iat` is a whole one. */
const LIFETIME = 4

const upTo = (n: number): number => Math.floor(Math.random() * n)
const among = <T>(list: readonly T[]): T | undefined => list[upTo(list.length)]

interface Agent {
  readonly name: string
  readonly principal: string
  readonly key: string
  readonly tools: readonly string[]
  session: string | undefined
}

function asAgent ({ name, key }: Agent, session: string | undefined): Record<string, string> {
  return { 'x-agent': name, 'x-session-key': key, ...(session === undefined ? {} : { 'mcp-session-id': session }) }
}

t.test(`row 44: ${AGENTS} agents of ${PRINCIPALS} principals at random for ${SECONDS} s, stealing what they can, see nothing of one another`, { timeout: (SECONDS + 120) * 1000 }, async (t) => {
  const issuer = await createIssuer({ audience: 'urn:naive', lifetime: LIFETIME })
  t.teardown(async () => await issuer.close())
  const server = await startNaive(t, createBearerCheck({ issuer: issuer.url, jwks: issuer.jwks, audience: () => 'urn:naive', now: Date.now }), TOOLS)
  const principals = Array.from({ length: PRINCIPALS }, (_, i) => `p${i}`)
  const env: Record<string, string> = {}
  for (const name of principals) env[name] = (await issuer.login(name)).refresh_token
  const sidecar = await startSidecar(t, `
upstreams: { naive: { url: "${server.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo, resource: "urn:naive" } } }
principals:
${principals.map((name) => `  ${name}: { credentials: { naive: { refresh_token: { env: ${name} } } } }`).join('\n')}
`, { env })
  const url = `${sidecar.proxyUrl}/naive/mcp`

  const agents: Agent[] = []
  for (let i = 0; i < AGENTS; i++) {
    const [name, principal] = [`agent-${i}`, `p${i % PRINCIPALS}`]
    const tools = ['count', TOOLS[i % 10] as string, TOOLS[(i * 7 + 3) % 10] as string, 'whoami']
    agents.push({ name, principal, tools, key: await sidecar.keyFor(principal, name, { allow: tools }), session: undefined })
  }

  /** What agents have left lying about: session ids, and ids of events. */
  const lying: { sessions: Array<{ of: Agent, id: string }>, events: string[] } = { sessions: [], events: [] }
  const leaks: string[] = []
  const surprises: string[] = []
  const did: Record<string, number> = {}
  const count = (what: string): void => { did[what] = (did[what] ?? 0) + 1 }

  /** Everything that an agent is sent comes by here. */
  function look (agent: Agent, text: string): void {
    for (const [mark, name, principal] of text.matchAll(/«([^»]*)» as (\w+)(?:, with the token of (\w+))?/g)) {
      if (name !== agent.name || principal !== agent.principal || mark.includes('token of') !== mark.endsWith(`token of ${agent.principal}`)) leaks.push(`${agent.name} of ${agent.principal} saw ${mark}`)
    }
    if (/eyJ[\w-]{10}/.test(text)) leaks.push(`${agent.name} saw a token`)
    for (const name of new Set(text.match(/tool_\d/g))) if (!agent.tools.includes(name) && !text.includes(`Unknown tool: ${name}`)) leaks.push(`${agent.name} saw ${name}`)
  }

  async function send (agent: Agent, { method = 'POST', body, session = agent.session }: { method?: string, body?: string, session?: string | undefined }): Promise<{ status: number, text: string, headers: Headers }> {
    const response = await fetch(url, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: {
        ...asAgent(agent, session),
        'content-type': 'application/json',
        accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
      },
      signal: AbortSignal.timeout(60_000),
    })
    const text = await response.text()
    look(agent, text)
    return { status: response.status, text, headers: response.headers }
  }

  async function expecting (agent: Agent, what: string, request: Parameters<typeof send>[1], fits: (text: string) => boolean): Promise<void> {
    const { status, text } = await send(agent, request)
    count(what)
    if (status !== 200 || !fits(text)) surprises.push(`${what} by ${agent.name}: ${status} ${text.slice(0, 300)}`)
  }

  const actions: Array<(agent: Agent) => Promise<void>> = [
    async function list (agent) {
      await expecting(agent, 'list', { body: rpc('tools/list') }, (text) => agent.tools.every((name) => text.includes(`"${name}"`)))
    },
    async function whoami (agent) {
      await expecting(agent, 'call', { body: rpc('tools/call', { name: 'whoami' }) }, (text) => text.includes(`«${agent.name}» as ${agent.principal}, with the token of ${agent.principal}`))
    },
    async function stream (agent) {
      await expecting(agent, 'stream', { body: rpc('tools/call', { name: 'count', _meta: { progressToken: 0 } }) }, (text) => text.includes(`counted for «${agent.name}»`))
    },
    async function deny (agent) {
      const name = among(TOOLS.filter((tool) => !agent.tools.includes(tool))) as string
      await expecting(agent, 'denied', { body: rpc('tools/call', { name }) }, (text) => text.includes(`Unknown tool: ${name}`))
    },
    async function listen (agent) {
      // The stream is the agent's only one; a second is refused by the server, as it may.
      const leave = new AbortController()
      const response = await fetch(url, { headers: { ...asAgent(agent, agent.session), accept: 'text/event-stream' }, signal: leave.signal })
      count(response.status === 200 ? 'listen' : 'listened already')
      setTimeout(() => leave.abort(), 100 + upTo(1_000)).unref()
      let text = ''
      try {
        for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) text += Buffer.from(chunk).toString()
      } catch {}
      look(agent, text)
      for (const [, id] of text.matchAll(/^id: (.+)$/gm)) if (id !== undefined) lying.events.push(id)
    },
    async function resume (agent) {
      const id = among(lying.events)
      if (id === undefined) return
      const leave = AbortSignal.timeout(100 + upTo(300))
      const text = await fetch(url, { headers: { ...asAgent(agent, agent.session), accept: 'text/event-stream', 'last-event-id': id }, signal: leave })
        .then(async (response) => await response.text(), () => '').catch(() => '')
      look(agent, text)
      count('resume')
    },
    async function steal (agent) {
      const stolen = among(lying.sessions.filter(({ of }) => of !== agent))
      if (stolen === undefined) return
      const method = among(['POST', 'POST', 'GET', 'DELETE']) as string
      const { status, text } = await send(agent, { method, session: stolen.id, ...(method === 'POST' ? { body: rpc('tools/call', { name: 'whoami' }) } : {}) })
      count('steal')
      if (status !== 404 || !text.includes('ERR_SESSION_MISMATCH')) leaks.push(`${agent.name} used the session of ${stolen.of.name}: ${status}`)
    },
    async function leave (agent) {
      if (Math.random() < 0.7) return
      const { status } = await send(agent, { method: 'DELETE' })
      count('leave')
      if (status !== 200) surprises.push(`DELETE by ${agent.name}: ${status}`)
      agent.session = undefined
    },
  ]

  async function live (agent: Agent): Promise<void> {
    while (Date.now() < end) {
      if (agent.session === undefined) {
        const { headers, status } = await send(agent, { body: rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: agent.name, version: '1' } }) })
        const id = headers.get('mcp-session-id')
        if (status !== 200 || id === null) return void surprises.push(`initialize by ${agent.name}: ${status}`)
        agent.session = id
        lying.sessions.push({ of: agent, id })
        await send(agent, { body: JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }) })
        count('open')
      }
      await (among(actions) as (typeof actions)[number])(agent)
      await sleep(upTo(400))
    }
  }

  /** One agent of each principal speaks 2026-07-28, where there is no session to steal. */
  async function liveModern (agent: Agent): Promise<void> {
    const sdk = await connectSdk(t, 'client 2.4', url, { headers: { 'X-Session-Key': agent.key, 'x-agent': agent.name }, versions: { pin: '2026-07-28' } })
    // However long it took to connect.
    do {
      const tools = await sdk.tools()
      if (JSON.stringify([...tools].sort()) !== JSON.stringify([...new Set(agent.tools)].sort())) leaks.push(`${agent.name} was shown ${String(tools)}`)
      look(agent, (await sdk.call('whoami')).content[0]?.text ?? '')
      count('modern')
      await sleep(200 + upTo(400))
    } while (Date.now() < end)
  }

  const end = Date.now() + SECONDS * 1000
  await Promise.all(agents.map(async (agent, i) => i < PRINCIPALS ? await liveModern(agent) : await live(agent)))

  t.same(leaks.slice(0, 20), [], 'no foreign tool, token, event or session was seen')
  t.same(server.intrusions.slice(0, 20), [], 'nor did the server see anybody in a session of somebody else')
  t.same(surprises.slice(0, 20), [], 'and everybody got what was theirs')
  for (const what of ['open', 'list', 'call', 'stream', 'denied', 'listen', 'resume', 'steal', 'leave', 'modern']) t.ok((did[what] ?? 0) > 0, `${what}: ${did[what]}`)
  t.ok(server.tokens.size >= 2 * PRINCIPALS, `${server.tokens.size} tokens of ${PRINCIPALS} principals`)
  t.equal(issuer.families.revoked, 0, 'no refresh token was used twice')
})
