import { createServer } from 'node:http'
import t from 'tap'
import { connectAgent } from '../../../src/demo/agent.js'
import { listen, shut } from '../../../src/demo/http.js'
import type { Received } from '../../../src/demo/mcp-server.js'
import { callAcrossRevocation } from '../../../src/demo/play.js'

function received (status: number, authorization: string, apiKey = authorization): Received {
  return { at: 0, status, authorization, apiKey, sub: 'alice', rpcMethod: status === 401 ? undefined : 'tools/call' }
}

async function call (fingerprints: string[], entries: Received[]) {
  const rejected: string[] = []
  const agent = { whoami: async () => ({ subject: 'alice', remaining_seconds: 1, fingerprint: fingerprints.shift() as string }) }
  const mcp = { rejectToken: (fingerprint: string) => { rejected.push(fingerprint) }, received: () => entries }
  return { ...await callAcrossRevocation(agent, mcp), rejected }
}

t.test('a revoked token must have been refused and replaced', async (t) => {
  const good = [received(200, 'a'), received(401, 'a'), received(200, 'b')]
  t.match(await call(['a', 'b'], good), { first: { fingerprint: 'a' }, second: { fingerprint: 'b' }, rejected: ['a'] })

  await t.rejects(call(['a', 'a'], [received(200, 'a'), received(401, 'a')]), /not refreshed/)
  await t.rejects(call(['a', 'b'], [received(200, 'a'), received(200, 'b')]), /not refreshed/, 'it was never refused')
})

t.test('both headers must have carried the new token', async (t) => {
  await t.rejects(call(['a', 'b'], [received(401, 'a'), received(200, 'b', 'a')]), /both headers/)
  await t.rejects(call(['a', 'b'], [received(401, 'a'), received(200, 'c')]), /both headers/)
  await t.rejects(call(['a', 'b'], [received(401, 'a')]), /both headers/)
})

t.test('an agent that is refused says so', async (t) => {
  const server = createServer((_req, res) => { res.writeHead(403).end('no') })
  t.teardown(async () => await shut(server))
  const url = await listen(server, { host: '127.0.0.1', port: 0 })
  await t.rejects(connectAgent(url, 'vk_key'))
})
