import t from 'tap'
import { Exchange } from '../../src/exchange.js'

t.test('O4: the context has what is known, and no field for what is not', async (t) => {
  const exchange = new Exchange('r-1', 'POST', 'tools', 0)
  t.same(exchange.context(), { request_id: 'r-1', upstream: 'tools', rpc_method: 'none' })
  exchange.caller = { session: 'ses_1', principal: 'alice', agent: 'planner' }
  exchange.rpc = { id: 1, method: 'tools/call', tool: 'search' }
  exchange.attempt = 2
  t.same(exchange.context(), { request_id: 'r-1', upstream: 'tools', rpc_method: 'tools/call', principal: 'alice', agent: 'planner', tool: 'search', attempt: 2 })
})

t.test('O1: overhead is what is neither the upstream\'s nor the caller\'s', async (t) => {
  const exchange = new Exchange('r-1', 'POST', 'tools', 100)
  t.equal(exchange.overhead(), undefined, 'there is none before there is an answer')
  exchange.receiving = 20
  exchange.upstreamWaits.push(30, 40)
  exchange.firstByteAt = 200
  t.equal(exchange.overhead(), 10)
  exchange.firstByteAt = 150
  t.equal(exchange.overhead(), 0, 'and never less than none')
})

t.test('O4: what a call says is read once somebody asks, and once only', async (t) => {
  const exchange = new Exchange('r-1', 'POST', 'tools', 0)
  let read = 0
  const summary = { id: 1, method: 'tools/call', tool: 'search' }
  exchange.readRpcWhenAsked(() => {
    read++
    return summary
  })
  t.equal(read, 0)
  t.equal(exchange.rpc, summary)
  t.match(exchange.context(), { rpc_method: 'tools/call', tool: 'search' })
  t.equal(read, 1)
  exchange.readRpcWhenAsked(() => summary)
  exchange.rpc = { id: null, method: 'other', tool: undefined }
  t.equal(exchange.rpc.method, 'other', 'what is known already is not read again')
})
