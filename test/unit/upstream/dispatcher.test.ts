import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import type { UpstreamConfig } from '../../../src/config/config.js'
import { systemClock } from '../../../src/clock.js'
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.js'

function configOf (text: string): UpstreamConfig {
  return loadConfigText(`upstreams: { tools: { url: "https://127.0.0.1:1/mcp"${text} } }`, { env: {} }).upstreams.get('tools') as UpstreamConfig
}

t.test('row 55: opening twice gives one pool, and ending one that was never opened is nothing', async (t) => {
  const dispatcher = new UpstreamDispatcher(configOf(''), systemClock, () => {}, 1_000)
  await dispatcher.destroy()
  const [one, two] = await Promise.all([dispatcher.open(), dispatcher.open()])
  t.equal(one, two)
  await dispatcher.destroy()
})
