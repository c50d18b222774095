import t from 'tap'
import { startFeatures } from '../helpers/feature-server.js'
import { isStream, seamless, sessionOf, setStage, standalone, startPeers, tokensOf } from '../helpers/interop.js'
import { connectSdk, makeSdk, type AgentOptions, type Sdk } from '../helpers/sdk-clients.js'

t.jobs = 4

const MODERN = '2026-07-28'
const PIN: AgentOptions = { versions: { pin: MODERN } }
const AUTO: AgentOptions = { versions: 'auto' }
const [demo, everything] = await startPeers(t)
if (demo === undefined || everything === undefined) throw new Error('there are two')

for (const [way, options] of Object.entries({ 'pinned to it': PIN, 'asking for the newest': AUTO })) {
  t.test(`client 2.4, ${way} → the demo server: 2026-07-28, with tokens expiring`, { buffered: true }, async (t) => {
    const stage = await setStage(t, demo.server)
    stage.expire()
    const agent = await connectSdk(t, 'client 2.4', stage.url, { ...stage, ...options })
    t.equal(agent.version(), MODERN)
    t.equal(agent.session(), undefined, 'there is no session')
    stage.expire()
    t.ok((await agent.tools()).includes('whoami'))
    stage.expire()
    t.match(await agent.call('add', { a: 40, b: 2 }), { content: [{ text: '42' }] })
    const seen: number[] = []
    stage.expire()
    t.match(await agent.call(demo.slow.name, demo.slow.args(5, 20), { onprogress: ({ progress }) => { seen.push(progress) } }), { content: [{ text: demo.slow.done }] })
    t.same(seen, [1, 2, 3, 4, 5])
    t.notOk(stage.hop.passed.some(({ method }) => method !== 'POST'), 'nothing but POST')
    const { headers } = stage.hop.passed.at(-1) as { headers: object }
    t.match(headers, { 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call', 'mcp-name': demo.slow.name }, 'the mirrored headers arrive')
    seamless(t, stage, agent, 4)
  })
}

t.test('client 2.4 → a 2026-07-28 server: a subscription outlives its token', { buffered: true }, async (t) => {
  const server = await startFeatures(t, { eras: 'modern' })
  const stage = await setStage(t, server)
  const agent = await connectSdk(t, 'client 2.4', stage.url, { ...stage, ...PIN })
  const { listen } = agent.client as unknown as { listen (filter: object): Promise<{ close (): Promise<void> }> }
  const subscription = await listen.call(agent.client, { toolsListChanged: true })
  for (let n = 1; n <= 3; n++) {
    stage.expire()
    await agent.tools()
    server.changeTools()
    await agent.notified(() => agent.notifications.filter(({ method }) => method === 'notifications/tools/list_changed').length === n)
  }
  const stream = await stage.hop.until(({ rpcMethod, status }) => rpcMethod === 'subscriptions/listen' && status === 200)
  t.equal(stream.end, 'open')
  seamless(t, stage, agent, 4)
  await subscription.close()
  await stage.hop.until((passed) => passed === stream && passed.end === 'left')
  t.pass('and is closed at the server when the agent closes it')
})

t.test('client 2.4 → a 2026-07-28 server: a question to the user, with the token expiring meanwhile', { buffered: true }, async (t) => {
  const server = await startFeatures(t, { eras: 'modern' })
  const stage = await setStage(t, server)
  const handlers = { elicitation: async () => { stage.expire(); return { sure: true } } }
  const agent = await connectSdk(t, 'client 2.4', stage.url, { ...stage, ...PIN, handlers })
  t.match(await agent.call('confirm'), { content: [{ text: 'sure: true' }] })
  seamless(t, stage, agent, 2)
})

t.test('client 2.4 → a 2026-07-28 server: a cancelled call is cancelled at the server', { buffered: true }, async (t) => {
  const server = await startFeatures(t, { eras: 'modern' })
  const stage = await setStage(t, server)
  const agent = await connectSdk(t, 'client 2.4', stage.url, { ...stage, ...PIN })
  const cancel = new AbortController()
  const running = agent.call('wait', {}, { signal: cancel.signal, onprogress () {} }).catch((error: unknown) => error)
  const stream = await stage.hop.until((passed) => passed.rpcMethod === 'tools/call' && isStream(passed))
  cancel.abort()
  t.type(await running, Error)
  await stage.hop.until((passed) => passed === stream && passed.end === 'left')
  t.match(await agent.call('add', { a: 1, b: 2 }), { content: [{ text: '3' }] }, 'the agent goes on')
})

t.test('client 2.4, asking for the newest → server-everything: falls back to initialize, as it does directly', { buffered: true }, async (t) => {
  const stage = await setStage(t, everything.server)
  stage.expire()
  const agent = await connectSdk(t, 'client 2.4', stage.url, { ...stage, ...AUTO })
  const direct = await stage.direct()
  const without = await connectSdk(t, 'client 2.4', direct.url, { ...direct, ...AUTO })
  t.equal(agent.version(), without.version())
  t.not(agent.version(), MODERN)
  const posts = ({ answers }: typeof agent): number[] => answers.filter(({ method }) => method === 'POST').map(({ status }) => status)
  t.same(posts(agent), [400, 200, 202], 'the refusal of the newer version comes through')
  t.same(posts(agent), posts(without))
  await standalone(stage, agent)
  stage.expire()
  t.match((await agent.call(everything.add, { a: 40, b: 2 })).content[0]?.text, '42')
  t.ok(tokensOf(stage, sessionOf(stage.hop, agent)).size >= 2)
})

interface Failing { readonly sdk: Sdk, readonly options: AgentOptions, readonly eras: 'legacy' | 'modern', readonly means: string }

const FAILING: Failing[] = [
  { sdk: 'sdk 1.32', options: {}, eras: 'modern', means: 'which it does not speak' },
  { sdk: 'client 2.4', options: {}, eras: 'modern', means: 'which it was not told to speak' },
  { sdk: 'client 2.4', options: PIN, eras: 'legacy', means: 'pinned to the other era' },
]

for (const { sdk, options, eras, means } of FAILING) {
  t.test(`${sdk} → a server of the ${eras} era alone, ${means}: fails as it does directly`, { buffered: true }, async (t) => {
    const stage = await setStage(t, await startFeatures(t, { eras }))
    const direct = await stage.direct()
    const failed = async (url: string, own: AgentOptions) => {
      const agent = makeSdk(t, sdk, url, { ...own, ...options })
      const error = await agent.connect().then(() => undefined, (error: unknown) => error)
      t.type(error, Error)
      return { error: String(error), answers: agent.answers.map(({ method, status }) => `${method} ${status}`) }
    }
    t.same(await failed(stage.url, stage), await failed(direct.url, direct))
  })
}
