import t, { type Test } from 'tap'
import { startFeatures } from '../helpers/feature-server.js'
import { type Stage, isStream, sessionOf, setStage, standalone, startPeers } from '../helpers/interop.js'
import { connectSdk, SDKS, type AgentOptions, type Sdk, type SdkAgent } from '../helpers/sdk-clients.js'
import { Watch } from '../helpers/watch.js'

t.jobs = 4

const MODERN: AgentOptions = { versions: { pin: '2026-07-28' } }
const PEERS = await startPeers(t)

/** An official client with a session of its own, which has these rules. */
async function limited (t: Test, sdk: Sdk, stage: Stage, tools: { allow?: string[], deny?: string[] }, options: AgentOptions = {}): Promise<SdkAgent> {
  return await connectSdk(t, sdk, stage.url, { ...options, headers: { 'X-Session-Key': await stage.sidecar.keyFor('alice', 'limited', tools) } })
}

async function refuses (t: Test, agent: SdkAgent, tool: string): Promise<void> {
  await t.rejects(agent.call(tool, { a: 1, b: 2 }), { code: -32602, message: new RegExp(`Unknown tool: ${tool}`) })
}

for (const sdk of SDKS) {
  for (const { name, server, add, slow } of PEERS) {
    t.test(`T2: ${sdk} → ${name}: sees and calls what it may, with tokens expiring`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      const [all, some] = [await connectSdk(t, sdk, stage.url, stage), await limited(t, sdk, stage, { deny: [add, 'whoam?'] })]
      const names = await all.tools()
      t.ok(names.includes(add))
      stage.expire()
      t.same(await some.tools(), names.filter((tool) => tool !== add && tool !== 'whoami'))
      await refuses(t, some, add)
      t.notOk(stage.hop.passed.some(({ session, rpcMethod }) => session === sessionOf(stage.hop, some) && rpcMethod === 'tools/call'), 'which did not go to the server')
      stage.expire()
      const seen: number[] = []
      t.match((await some.call(slow.name, slow.args(3, 50), { onprogress: ({ progress }) => { seen.push(progress) } })).content[0]?.text, slow.done)
      t.same(seen, [1, 2, 3])
      t.match((await all.call(add, { a: 40, b: 2 })).content[0]?.text, '42', 'another agent of the same principal may')
      t.same(some.errors.map(String), [])
    })

    t.test(`T2: ${sdk} → ${name}: a stream that is broken and resumed stays filtered`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      const agent = await limited(t, sdk, stage, { deny: [add] })
      await standalone(stage, agent)
      const watch = new Watch<number>()
      const seen: number[] = []
      const running = agent.call(slow.name, slow.args(4, 100), { onprogress: ({ progress }) => { seen.push(progress); watch.tell(progress) } })
      await watch.until((progress) => progress >= 2, seen)
      const release = stage.hop.hold(({ lastEventId }) => lastEventId !== undefined)
      t.equal(stage.hop.cut((passed) => isStream(passed) && passed.method === 'POST' && passed.session === sessionOf(stage.hop, agent)), 1)
      stage.expire()
      await agent.call(slow.name, slow.args(4, 100))
      release()
      t.match((await running).content[0]?.text, slow.done)
      t.ok(!(await agent.tools()).includes(add))
    })
  }

  t.test(`T2: ${sdk} → a server whose tools change: what is hidden stays hidden`, { buffered: true }, async (t) => {
    for (const mode of ['json', 'auto'] as const) {
      const server = await startFeatures(t, { eras: 'legacy', mode })
      const stage = await setStage(t, server)
      const agent = await limited(t, sdk, stage, { deny: ['new-*', 'confirm'] })
      await standalone(stage, agent)
      t.same((await agent.tools()).sort(), ['add', 'wait'])
      server.changeTools()
      await agent.notified(({ method }) => method === 'notifications/tools/list_changed')
      t.same((await agent.tools()).sort(), ['add', 'wait'])
      await refuses(t, agent, 'confirm')
    }
  })
}

t.test('T2: client 2.4 → servers of the stateless era', { buffered: true }, async (t) => {
  const server = await startFeatures(t, { eras: 'modern' })
  const stage = await setStage(t, server)
  const agent = await limited(t, 'client 2.4', stage, { allow: ['add', 'confirm'] }, { ...MODERN, handlers: { elicitation: async () => ({ sure: true }) } })
  t.equal(agent.version(), '2026-07-28')
  t.same((await agent.tools()).sort(), ['add', 'confirm'])
  stage.expire()
  t.match(await agent.call('add', { a: 1, b: 2 }), { content: [{ text: '3' }] })
  t.match(await agent.call('confirm'), { content: [{ text: 'sure: true' }] }, 'a question to the user comes through')
  await refuses(t, agent, 'wait')
  const { listen } = agent.client as unknown as { listen (filter: object): Promise<{ close (): Promise<void> }> }
  const subscription = await listen.call(agent.client, { toolsListChanged: true })
  server.changeTools()
  await agent.notified(({ method }) => method === 'notifications/tools/list_changed')
  t.same((await agent.tools()).sort(), ['add', 'confirm'])
  await subscription.close()
  t.same(agent.errors.map(String), [])
})

t.test('T2: client 2.4 → a server of both eras: falls back and is filtered all the same', { buffered: true }, async (t) => {
  const [, everything] = PEERS
  const stage = await setStage(t, everything?.server as Exclude<typeof everything, undefined>['server'])
  const agent = await limited(t, 'client 2.4', stage, { allow: ['get-*'] }, { versions: 'auto' })
  t.ok((await agent.tools()).every((tool) => tool.startsWith('get-')))
  await refuses(t, agent, 'echo')
})
