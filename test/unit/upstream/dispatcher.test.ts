import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import type { UpstreamConfig } from '../../../src/config/config.js'
import { systemClock } from '../../../src/clock.js'
import { Exchange } from '../../../src/exchange.js'
import type { ValetEvent } from '../../../src/telemetry/events.js'
import { UpstreamDispatcher } from '../../../src/upstream/dispatcher.js'
import { drain, open } from '../../helpers/peers.js'
import { listOf } from '../../helpers/tool-server.js'
import { startUpstream } from '../../helpers/upstream.js'

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

t.test('row 46: a fault in the middle of a stream is told by its place, never by its message', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${listOf(['add'])}\n\n`) })
  const config = loadConfigText(`upstreams: { tools: { url: "${upstream.origin}/mcp" } }`, { env: {} }).upstreams.get('tools') as UpstreamConfig
  const events: ValetEvent[] = []
  const dispatcher = new UpstreamDispatcher(config, systemClock, (event) => events.push(event), 1_000)
  const agents = createServer((_request, raw: ServerResponse) => {
    const exchange = new Exchange('r', 'POST', 'tools', 0)
    exchange.policy = { allows () { throw new TypeError('quotes what an upstream sent') } }
    dispatcher.send({ method: 'POST', path: '/mcp', body: Buffer.from('{}') }, { exchange, raw, headers: [], session: { show: (own) => own }, bindEndpoint: (path) => path, onHead () {}, onAnswered () {} }, () => {})
  })
  agents.listen(0, '127.0.0.1')
  await once(agents, 'listening')
  t.teardown(async () => { agents.close(); await dispatcher.destroy() })
  const { head } = open(`http://127.0.0.1:${(agents.address() as AddressInfo).port}/`)
  await head.then(drain, () => undefined)
  t.match(events.filter(({ event }) => event === 'failed'), [{ code: 'ERR_INTERNAL', reason: /^TypeError at / }])
  t.notMatch(JSON.stringify(events), 'quotes')
})
