import { McpServer, type JSONRPCMessage } from '@modelcontextprotocol/server'
import t from 'tap'
import { createEventStore } from '../../../src/demo/event-store.js'
import { createMcpSessions } from '../../../src/demo/mcp-sessions.js'
import { TokenFamilies } from '../../../src/demo/token-family.js'

const url = 'http://127.0.0.1/mcp'

function initialize (): [Request, { parsedBody: unknown }] {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1.0.0' } }
  const parsedBody = { jsonrpc: '2.0', id: 1, method: 'initialize', params }
  return [new Request(url, { method: 'POST', headers, body: JSON.stringify(parsedBody) }), { parsedBody }]
}

t.test('beyond the limit the session unused for longest is closed', async (t) => {
  const sessions = createMcpSessions(() => new McpServer({ name: 'test', version: '1.0.0' }), 2)
  t.teardown(async () => await sessions.close())
  const ids: string[] = []
  for (let n = 0; n < 3; n++) {
    const response = await sessions.fetch(...initialize())
    ids.push(response.headers.get('mcp-session-id') as string)
  }
  t.equal(sessions.size, 2)
  const gone = new Request(url, { method: 'DELETE', headers: { 'Mcp-Session-Id': ids[0] as string } })
  t.equal((await sessions.fetch(gone, {})).status, 404)
  const kept = new Request(url, { method: 'DELETE', headers: { 'Mcp-Session-Id': ids[1] as string } })
  t.equal((await sessions.fetch(kept, {})).status, 200)
  t.equal(sessions.size, 1)
})

t.test('events beyond the limit can no longer be resumed', async (t) => {
  const store = createEventStore(2)
  const message = (method: string): JSONRPCMessage => ({ jsonrpc: '2.0', method })
  const first = await store.storeEvent('a', message('one'))
  const second = await store.storeEvent('a', message('two'))
  await store.storeEvent('b', message('other'))
  t.equal(await store.getStreamIdForEventId?.(first), undefined)
  t.equal(await store.getStreamIdForEventId?.(second), 'a')

  const sent: JSONRPCMessage[] = []
  const send = async (_id: string, message: JSONRPCMessage) => { sent.push(message) }
  t.equal(await store.replayEventsAfter(second, { send }), 'a')
  t.same(sent, [], 'another stream\'s events are not this one\'s')
  t.equal(await store.replayEventsAfter(first, { send }), '')
})

t.test('beyond the limit the token family idle for longest is dropped', async (t) => {
  const families = new TokenFamilies({ graceMs: 0, idleMs: 1000, now: () => 0, limit: 2 })
  const grant = { subject: 'alice', clientId: 'demo', scope: '' }
  const tokens = [families.open(grant), families.open(grant), families.open(grant)]
  t.same(families.counts, { active: 2, revoked: 0 })
  t.throws(() => families.rotate(tokens[0] as string, 'demo'), { message: /unknown or has expired/ })
  t.match(families.rotate(tokens[1] as string, 'demo'), { grant })
})
