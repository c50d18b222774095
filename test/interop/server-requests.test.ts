import t from 'tap'
import { startEverything } from '../helpers/everything.js'
import { seamless, setStage, standalone } from '../helpers/interop.js'
import { connectSdk, SDKS } from '../helpers/sdk-clients.js'

t.jobs = 4

const everything = { origin: await startEverything(t) }

for (const sdk of SDKS) {
  t.test(`${sdk} → server-everything: sampling, with the token expiring while the agent thinks`, { buffered: true }, async (t) => {
    const stage = await setStage(t, everything)
    const handlers = { sampling: async () => { stage.expire(); return 'a sampled thought' } }
    const agent = await connectSdk(t, sdk, stage.url, { ...stage, handlers })
    const { content } = await agent.call('trigger-sampling-request', { prompt: 'think', maxTokens: 10 })
    t.match(content[0]?.text, 'a sampled thought')
    answered()
    seamless(t, stage, agent, 2)

    function answered (): void {
      const answers = stage.hop.passed.filter(({ rpcMethod }) => rpcMethod === 'response')
      t.same(answers.map(({ status }) => status), [401, 202], 'the agent\'s answer was refused, and replayed')
    }
  })

  t.test(`${sdk} → server-everything: elicitation, with the token expiring while a person types`, { buffered: true }, async (t) => {
    const stage = await setStage(t, everything)
    const handlers = { elicitation: async () => { stage.expire(); return { name: 'Ada', check: true } } }
    const agent = await connectSdk(t, sdk, stage.url, { ...stage, handlers })
    const { content } = await agent.call('trigger-elicitation-request')
    t.match(content.map(({ text }) => text).join(), 'Ada')
    seamless(t, stage, agent, 2)
  })

  t.test(`${sdk} → server-everything: the server asks for roots over the GET stream`, { buffered: true }, async (t) => {
    const stage = await setStage(t, everything)
    const handlers = { roots: async () => { stage.expire(); return ['file:///work'] } }
    const agent = await connectSdk(t, sdk, stage.url, { ...stage, handlers })
    await standalone(stage, agent)
    const { params } = await agent.notified(({ method, params }) => method === 'notifications/message' && /Roots updated/.test(String(params?.data)))
    t.match(params?.data, 'Roots updated: 1 root(s)')
    t.match((await agent.call('get-roots-list')).content.map(({ text }) => text).join(), 'file:///work')
    seamless(t, stage, agent, 2)
  })
}
