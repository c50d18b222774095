import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { call, rpc } from '../helpers/call.js'
import { door, drain, eventually, freshToken, open, piece } from '../helpers/peers.js'
import { serveProcess, type Serving } from '../helpers/serving.js'
import { answerJson, startUpstream, type TestUpstream } from '../helpers/upstream.js'

interface Scene { readonly upstream: TestUpstream, readonly key: string, start (): Promise<Serving> }

/** A server, and how to start a sidecar before it. Half of its calls take a moment. */
async function scene (t: Test, more = '', answer: Parameters<typeof startUpstream>[1] = (seen, response) => { setTimeout(() => answerJson(seen, response), Math.random() < 0.5 ? 0 : 150) }): Promise<Scene> {
  const upstream = await startUpstream(t, answer)
  const config = join(t.testdir({}), 'valet.yaml')
  const key = mintSessionKey().reveal()
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
${more}
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
sessions: [{ principal: alice, agent: planner, key: { env: KEY } }]
`)
  const env = { TOKEN: freshToken(), KEY: key }
  return { upstream, key, start: async () => await serveProcess(t, config, env) }
}

async function stopped (valet: Serving): Promise<number | null> {
  const ended = once(valet.child, 'exit')
  valet.child.kill('SIGTERM')
  const [code] = await ended as [number | null]
  return code
}

t.test('row 51: no call fails while two sidecars behind one address are restarted in turn', async (t) => {
  const { key, start } = await scene(t)
  const places = [await start(), await start()]
  // What stands before several instances: it tries the other one where a connection is refused, and knows nothing of HTTP.
  let turn = 0
  const balancer = createServer((agent) => {
    const [first, second] = turn++ % 2 === 0 ? places : [...places].reverse()
    const join = (place: Serving | undefined, other?: Serving): void => {
      const { hostname, port } = new URL((place as Serving).proxy)
      const valet = connect(Number(port), hostname)
      valet.on('error', () => { other === undefined ? agent.destroy() : join(other) })
      valet.once('connect', () => {
        valet.removeAllListeners('error').on('error', () => agent.destroy())
        agent.on('error', () => valet.destroy()).pipe(valet).pipe(agent)
      })
    }
    agent.on('error', () => {})
    join(first, second)
  })
  balancer.listen(0, '127.0.0.1')
  await once(balancer, 'listening')
  const url = `http://127.0.0.1:${(balancer.address() as AddressInfo).port}/tools/mcp`
  const dispatcher = new Agent({ keepAliveTimeout: 60_000, pipelining: 1 })
  t.teardown(async () => { balancer.close(); await dispatcher.destroy() })

  const run = { over: false }
  const outcomes = new Map<string, number>()
  const callers = Array.from({ length: 8 }, async () => {
    while (!run.over) {
      const outcome = await request(url, { dispatcher, method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json' }, body: rpc('tools/list') })
        .then(async ({ statusCode, body }) => { await body.dump(); return String(statusCode) }, (error: Error & { code?: string }) => String(error.code))
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      await sleep(Math.random() * 20)
    }
  })
  for (const nth of [0, 1, 0, 1]) {
    await sleep(300)
    const next = await start()
    const old = places[nth] as Serving
    places[nth] = next
    t.equal(await stopped(old), 0)
  }
  run.over = true
  await Promise.all(callers)
  t.same([...outcomes.keys()], ['200'], `${[...outcomes.values()].join()} calls, 4 restarts`)
})

t.test('row 51: told to stop it is not ready, takes nobody new, and lets calls and streams have their time', async (t) => {
  const [slow, more] = [door(), door()]
  const { upstream, key, start } = await scene(t, 'drain: { calls: 1m, streams: 3s }', (seen, response) => {
    if (seen.method !== 'GET') return void slow.opened.then(() => answerJson(seen, response))
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    void more.opened.then(() => response.write('data: 2\n\n'))
  })
  const valet = await start()
  const url = `${valet.proxy}/tools/mcp`
  const waiting = call(url, { key })
  const stream = await open(url, { method: 'GET', key }).head
  t.match(await piece(stream), 'data: 1')
  await eventually(() => upstream.seen.length === 2)
  const ended = stopped(valet)
  await valet.until(({ event }) => event === 'stopping')
  const ready = await fetch(`${valet.admin}/readyz`)
  t.equal(ready.status, 503)
  t.match(await ready.json(), { reasons: ['stopping'] })
  t.equal((await fetch(`${valet.admin}/healthz`)).status, 200, 'it is alive')
  t.match(await call(url, { key }).catch((error: unknown) => error), { code: 'ECONNREFUSED' })
  more.open()
  t.match(await piece(stream), 'data: 2', 'a stream has its grace')
  t.equal((await drain(stream)).complete, true, 'and then comes to a proper end')
  slow.open()
  t.equal((await waiting).status, 200, 'a call ends, though it takes longer')
  t.equal(await ended, 0)
  t.match(valet.lines.at(-1), { event: 'stopped' })
})

t.test('row 51: a call that was on its way on an idle connection is answered, and closes it', async (t) => {
  const { key, start } = await scene(t)
  const valet = await start()
  const dispatcher = new Agent({ connections: 1 })
  t.teardown(async () => await dispatcher.destroy())
  const post = async () => await request(`${valet.proxy}/tools/mcp`, { dispatcher, method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json' }, body: rpc('tools/list') })
  await (await post()).body.dump()
  const ended = stopped(valet)
  await valet.until(({ event }) => event === 'stopping')
  const last = await post()
  await last.body.dump()
  t.equal(last.statusCode, 200)
  t.equal(last.headers.connection, 'close')
  t.equal(await ended, 0)
})
