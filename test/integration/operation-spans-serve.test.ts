import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { call } from '../helpers/call.js'
import { startCollector } from '../helpers/collector.js'
import { freshToken } from '../helpers/peers.js'
import { serveProcess, type Serving } from '../helpers/serving.js'
import { startUpstream, type TestUpstream } from '../helpers/upstream.js'

async function serving (t: Test, env: Record<string, string>): Promise<{ serving: Serving, upstream: TestUpstream, ask: () => Promise<number> }> {
  const upstream = await startUpstream(t)
  const config = join(t.testdir({}), 'valet.yaml')
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }]
`)
  const key = mintSessionKey().reveal()
  const serving = await serveProcess(t, config, { TOKEN: freshToken(), KEY: key, ...env })
  return { serving, upstream, ask: async () => (await call(`${serving.proxy}/tools/mcp`, { key })).status }
}

async function end ({ child }: Serving): Promise<number | null> {
  child.kill('SIGTERM')
  await once(child, 'exit')
  return child.exitCode
}

t.test('O2: serve sends traces where OTEL_EXPORTER_OTLP_ENDPOINT says, the last of them as it ends', async (t) => {
  const collector = await startCollector(t)
  const { serving: sidecar, ask } = await serving(t, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.origin, OTEL_SERVICE_NAME: 'valet-7', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test', OTEL_BSP_SCHEDULE_DELAY: '60000' })
  t.equal(await ask(), 200)
  t.equal(collector.requests, 0, 'nothing yet')
  t.equal(await end(sidecar), 0)
  t.match(collector.spans.map(({ name }) => name), ['refresh', 'upstream', 'tools/list'])
  t.match(collector.spans[0]?.resource, { 'service.name': 'valet-7', 'deployment.environment.name': 'test' })
})

t.test('O2: without an endpoint, and with one that is of no use, it serves as before', async (t) => {
  const { serving: silent, upstream, ask } = await serving(t, { OTEL_SERVICE_NAME: 'valet-7' })
  t.equal(await ask(), 200)
  t.notOk('traceparent' in (upstream.seen[0]?.headers ?? {}))
  t.equal(await end(silent), 0)

  const wrong = await serving(t, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
  t.match(await wrong.serving.until(({ event }) => event === 'warning'), { level: 'warn', reason: /^no traces are sent: OTEL_EXPORTER_OTLP_PROTOCOL/ })
  t.equal(await wrong.ask(), 200)
  t.equal(await end(wrong.serving), 0)
})

t.test('O2: a collector that never answers keeps neither calls nor the end waiting', async (t) => {
  const server: Server = createServer(() => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { serving: sidecar, ask } = await serving(t, { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, OTEL_BSP_SCHEDULE_DELAY: '10' })
  for (let nth = 0; nth < 20; nth++) t.equal(await ask(), 200)
  t.equal(await end(sidecar), 0, 'long before the ten seconds that the collector has')
})
