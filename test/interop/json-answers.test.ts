import t from 'tap'
import { startFeatures } from '../helpers/feature-server.js'
import { seamless, setStage, standalone } from '../helpers/interop.js'
import { connectSdk, SDKS } from '../helpers/sdk-clients.js'

t.jobs = 4

for (const sdk of SDKS) {
  for (const mode of ['json', 'auto'] as const) {
    const kind = mode === 'json' ? 'application/json' : 'text/event-stream'
    t.test(`${sdk} → a server that answers as ${kind}: calls and tools/list_changed`, { buffered: true }, async (t) => {
      const server = await startFeatures(t, { mode, eras: 'legacy' })
      const stage = await setStage(t, server)
      const agent = await connectSdk(t, sdk, stage.url, stage)
      const stream = await standalone(stage, agent)
      const before = await agent.tools()
      stage.expire()
      t.match(await agent.call('add', { a: 40, b: 2 }), { content: [{ text: '42' }] })
      const { contentType } = agent.answers.filter(({ method }) => method === 'POST').at(-1) as { contentType: string }
      t.match(contentType, kind)

      stage.expire()
      server.changeTools()
      await agent.notified(({ method }) => method === 'notifications/tools/list_changed')
      t.equal((await agent.tools()).length, before.length + 1)
      t.equal(stream.end, 'open')
      seamless(t, stage, agent, 3)
    })
  }
}
