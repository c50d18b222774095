import t, { type Test } from 'tap'
import { SHORT, isStream, seamless, sessionOf, setStage, standalone, startPeers, tokensOf } from '../helpers/interop.js'
import { connectSdk, SDKS, type AgentOptions, type Sdk } from '../helpers/sdk-clients.js'
import { startHop, type TokenHop } from '../helpers/token-hop.js'
import { Watch } from '../helpers/watch.js'

t.jobs = 4

const PEERS = await startPeers(t)
const STEPS = 30

for (const sdk of SDKS) {
  for (const { name, server, add, slow } of PEERS) {
    t.test(`${sdk} → ${name}: a long tool reports progress`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server, SHORT)
      const agent = await connectSdk(t, sdk, stage.url, stage)
      await standalone(stage, agent)

      const seen: number[] = []
      const watch = new Watch<number>()
      const onprogress = ({ progress }: { progress: number }): void => {
        seen.push(progress)
        watch.tell(progress)
      }
      const running = agent.call(slow.name, slow.args(STEPS, 100), { onprogress })
      // Each of these replaces the token while the long answer is on its way, and so does time.
      for (const step of [1, 4, 7]) {
        await watch.until((progress) => progress >= step, seen)
        stage.expire()
        t.match((await agent.call(add, { a: 1, b: step })).content[0]?.text, String(step + 1))
        if (step === 1) t.ok(seen.length < STEPS, 'the other call was answered while the long one ran')
      }
      t.match((await running).content[0]?.text, slow.done)
      t.same(seen, Array.from({ length: STEPS }, (_, n) => n + 1), 'all of its progress came, in order')
      seamless(t, stage, agent, 4)
    })

    t.test(`${sdk} → ${name}: a broken stream is resumed with Last-Event-ID on an expired token, as it is directly`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      const through = await resume(t, sdk, stage.url, stage, stage.hop, () => stage.expire())
      t.ok(tokensOf(stage, through.session).size >= 2, 'on two tokens')
      t.notOk(through.statuses.some((status) => status === 401), 'and no 401')

      const direct = await stage.direct()
      const hop = await startHop(t, direct.url)
      const without = await resume(t, sdk, `${hop.origin}/mcp`, direct, hop, () => {})
      t.same(through.errors, without.errors, 'the client reports what it reports directly')
      t.same(through.seen, without.seen)

      /** Breaks the answer of a running tool, and lets the client come back for the rest once the tool has ended. */
      async function resume (t: Test, sdk: Sdk, url: string, options: AgentOptions, hop: TokenHop, expire: () => void) {
        const agent = await connectSdk(t, sdk, url, options)
        const seen: number[] = []
        const watch = new Watch<number>()
        const onprogress = ({ progress }: { progress: number }): void => {
          seen.push(progress)
          watch.tell(progress)
        }
        const running = agent.call(slow.name, slow.args(4, 100), { onprogress })
        await watch.until((progress) => progress >= 2, seen)
        // server-everything forgets where an answer belongs that it has yet to give when the client resumes; hence the
        // wait, for a call that ends later than the first one.
        const release = hop.hold(({ lastEventId }) => lastEventId !== undefined)
        t.equal(hop.cut((passed) => isStream(passed) && passed.method === 'POST' && passed.session === sessionOf(hop, agent)), 1)
        expire()
        await agent.call(slow.name, slow.args(4, 100))
        release()
        t.match((await running).content[0]?.text, slow.done)
        const resumed = await hop.until(({ lastEventId, status, session }) => lastEventId !== undefined && status === 200 && session === sessionOf(hop, agent))
        t.equal(resumed.method, 'GET')
        return {
          session: sessionOf(hop, agent),
          seen,
          statuses: agent.answers.map(({ status }) => status),
          errors: agent.errors.map((error) => error.message.replace(/"id":\S+?[,}]/g, '')).sort(),
        }
      }
    })

    t.test(`${sdk} → ${name}: an agent that leaves takes its streams with it`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      const agent = await connectSdk(t, sdk, stage.url, stage)
      const stream = await standalone(stage, agent)
      const running = agent.call(slow.name, slow.args(600, 100), { onprogress () {} }).catch((error: unknown) => error)
      const answer = await stage.hop.until((passed) => passed.rpcMethod === 'tools/call' && passed.status === 200)
      await agent.close()
      t.type(await running, Error)
      for (const open of [stream, answer]) await stage.hop.until((passed) => passed === open && passed.end === 'left')
      t.pass('the server sees both of them closed')
    })
  }

  const everything = PEERS[1]?.server as Exclude<typeof PEERS[number]['server'], 'demo'>
  t.test(`${sdk} → server-everything: notifications come by the GET stream, whatever the token`, { buffered: true }, async (t) => {
    const stage = await setStage(t, everything)
    const agent = await connectSdk(t, sdk, stage.url, stage)
    const stream = await standalone(stage, agent)
    const [resource] = (await agent.client.listResources()).resources
    const uri = resource?.uri as string

    stage.expire()
    await agent.client.setLoggingLevel('debug')
    await agent.call('toggle-simulated-logging')
    await agent.notified(({ method, params }) => method === 'notifications/message' && /level.message/.test(String(params?.data)))

    stage.expire()
    await agent.client.subscribeResource({ uri })
    await agent.call('toggle-subscriber-updates')
    t.match(await agent.notified(({ method }) => method === 'notifications/resources/updated'), { params: { uri } })

    stage.expire()
    const listChanged = agent.notifications.filter(({ method }) => method === 'notifications/resources/list_changed').length
    const { content } = await agent.call('gzip-file-as-resource', { name: 'note.txt.gz', data: 'data:text/plain,hello', outputType: 'resourceLink' })
    await agent.notified(() => agent.notifications.filter(({ method }) => method === 'notifications/resources/list_changed').length > listChanged)
    const link = (content[0] as { uri?: string }).uri as string
    t.equal((await agent.client.readResource({ uri: link })).contents[0]?.uri, link)

    t.equal(stream.end, 'open')
    seamless(t, stage, agent, 4)
    for (const toggle of ['toggle-simulated-logging', 'toggle-subscriber-updates']) await agent.call(toggle)
  })
}
