import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { SHORT, type Stage, isStream, refreshes, seamless, sessionOf, setStage, standalone, startPeers, tokensOf } from '../helpers/interop.js'
import { connectSdk, SDKS, type SdkAgent } from '../helpers/sdk-clients.js'

t.jobs = 4

const PEERS = await startPeers(t)

for (const sdk of SDKS) {
  for (const { name, server, add, slow } of PEERS) {
    t.test(`${sdk} → ${name}: a session outlives its tokens`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server, SHORT)
      const agent = await connectSdk(t, sdk, stage.url, stage)
      t.ok((await agent.tools()).includes(slow.name))
      const stream = await standalone(stage, agent)

      // Real time passes here, until some tokens have been renewed ahead; then one dies at the server alone.
      let sum = 0
      let killed = false
      const enough = (): boolean => tokensOf(stage, sessionOf(stage.hop, agent)).size >= 4 && triggers(stage).has('ahead') && triggers(stage).has('rejected')
      while (!enough()) {
        sum++
        const { content } = await agent.call(add, { a: sum, b: 1 })
        t.match(content[0]?.text, new RegExp(`\\b${sum + 1}\\b`))
        await sleep(100)
        if (!killed && triggers(stage).has('ahead')) {
          stage.expire()
          killed = true
        }
      }
      t.ok((await agent.tools()).includes(slow.name))
      t.equal(stream.end, 'open', 'the GET stream has outlived them too')
      t.equal(stage.hop.passed.filter(({ method, status }) => method === 'GET' && status !== 401).length, 1, 'and was never opened again')
      seamless(t, stage, agent, 4)
    })

    t.test(`${sdk} → ${name}: every request of a session, on a token that has just expired`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      stage.expire()
      const agent = await connectSdk(t, sdk, stage.url, stage)
      for (const step of [
        async () => await standalone(stage, agent),
        async () => await agent.tools(),
        async () => await agent.call(add, { a: 1, b: 2 }),
        async () => await agent.client.ping(),
      ]) {
        stage.expire()
        await step()
      }
      seamless(t, stage, agent, 3)
      stage.expire()
      await agent.terminate()
      t.ok(stage.hop.passed.some(({ method, status }) => method === 'DELETE' && status === 200), 'and the DELETE too')
    })

    t.test(`${sdk} → ${name}: DELETE ends the session, as it does directly`, { buffered: true }, async (t) => {
      const stage = await setStage(t, server)
      const through = await connectSdk(t, sdk, stage.url, stage)
      stage.expire()
      const direct = await stage.direct()
      const without = await connectSdk(t, sdk, direct.url, direct)

      t.same(await ended(t, through, stage), await ended(t, without, direct))
      t.equal(openStreams(stage), 0, 'no stream of the session is left')
    })
  }
}

/** What led to the refreshes, but for the one that got the first token. */
function triggers (stage: Stage): Set<string> {
  return new Set(refreshes(stage).slice(1).map(({ trigger }) => trigger))
}

/** What a client, and what anybody with the old session id, gets after the end. */
async function ended (t: Test, agent: SdkAgent, { url, headers }: { url: string, headers: Record<string, string> }) {
  await agent.tools()
  const session = agent.session() as string
  await agent.terminate()
  t.equal(agent.session(), undefined)
  t.match(agent.answers.at(-1), { method: 'DELETE', status: 200 })
  const error = await agent.tools().then(() => undefined, (error: unknown) => error)
  t.type(error, Error)
  const late = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'Mcp-Session-Id': session, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/list' }),
  })
  return { error: String(error), answer: agent.answers.at(-1)?.status, late: late.status, body: await late.text() }
}

function openStreams (stage: Stage): number {
  return stage.hop.passed.filter((passed) => isStream(passed) && passed.end === 'open').length
}
