import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { call, errorCode, rpc, type CallAnswer } from '../helpers/call.js'
import { eventually, startFlow } from '../helpers/peers.js'
import { connectTo, requestText } from '../helpers/raw.js'
import { LIMITS } from '../../src/http/server.js'
import { startUpstream, type TestUpstream } from '../helpers/upstream.js'

const limits = { ...LIMITS, room: 1024 * 1024 }
const LARGE = rpc('tools/call', { name: 'x', blob: randomBytes(150_000).toString('base64') })

interface Waiting extends TestUpstream {
  /** Answers all that wait for it. */
  release (): void
}

/** An MCP server that answers nothing until it is told to. */
async function startWaiting (t: Test, begin: (response: ServerResponse) => void = () => {}): Promise<Waiting> {
  const waiting: ServerResponse[] = []
  const upstream = await startUpstream(t, (_seen, response) => {
    begin(response)
    waiting.push(response)
  })
  return { ...upstream, release () { for (const response of waiting.splice(0)) response.end(response.headersSent ? '' : '{}') } }
}

/** Calls until one is refused. @returns those that were not, once they have been answered, and the refusal */
async function fill (upstream: Waiting, url: string, key: string, body = LARGE): Promise<{ held: Array<Promise<CallAnswer>>, refused: CallAnswer }> {
  const held: Array<Promise<CallAnswer>> = []
  for (let count = 0; count < 100; count++) {
    const before = upstream.seen.length
    let refused: CallAnswer | undefined
    const answer = call(url, { key, body })
    void answer.then((found) => { if (found.status === 503) refused = found }, () => {})
    await eventually(() => refused !== undefined || upstream.seen.length > before)
    if (refused !== undefined) return { held, refused }
    held.push(answer)
  }
  throw new Error('nobody was refused')
}

t.test('row 43: an agent with many large bodies is refused, and leaves room for the others', async (t) => {
  const upstream = await startWaiting(t)
  const { url, key, sidecar } = await startFlow(t, upstream.origin, '', { limits })
  const { held, refused } = await fill(upstream, url, key)
  t.equal(held.length, 20, 'of 200 kB each, with a body limit of 4 MiB')
  t.equal(errorCode(refused), 'ERR_OVERLOADED')
  t.equal(refused.headers['retry-after'], '1')
  t.match(sidecar.events.filter(({ event }) => event === 'failed'), [{ code: 'ERR_OVERLOADED', principal: 'alice', agent: 'tester', reason: /^no room for 0\.2 MiB more: the calls of this agent hold 3\.8 MiB already, and those of all 3\.8 MiB of 8\.0 MiB$/ }])

  const other = call(url, { key: await sidecar.keyFor('alice', 'other'), body: LARGE })
  const small = call(url, { key, body: rpc('ping') })
  await eventually(() => upstream.seen.length === held.length + 2)
  upstream.release()
  t.same((await Promise.all([...held, other, small])).map(({ status }) => status), Array(held.length + 2).fill(200))

  const again = await fill(upstream, url, key)
  upstream.release()
  t.equal(again.held.length, held.length, 'once they are answered the room is there again')
})

t.test('row 43: so is one whose bodies come in chunks', async (t) => {
  const upstream = await startWaiting(t)
  const { url, key } = await startFlow(t, upstream.origin, '', { limits })
  const { held } = await fill(upstream, url, key)
  const answer = await call(url, { key, body: LARGE, headers: { 'transfer-encoding': 'chunked' } })
  t.equal(answer.status, 503)
  t.equal(errorCode(answer), 'ERR_OVERLOADED')
  upstream.release()
  await Promise.all(held)
})

t.test('row 43: an agent that leaves, at whatever moment, leaves its room', async (t) => {
  const upstream = await startWaiting(t)
  const { url, key } = await startFlow(t, upstream.origin, '', { limits })
  const text = (body: string): string => requestText(`POST ${new URL(url).pathname} HTTP/1.1`, ['Host: localhost', `X-Session-Key: ${key}`, 'Content-Type: application/json', `Content-Length: ${LARGE.length}`, 'Connection: keep-alive'], body)
  const before = await fill(upstream, url, key)
  upstream.release()
  await Promise.all(before.held)
  const moments: Record<string, string> = {
    'in the middle of its body': text(LARGE.slice(0, 100_000)),
    'before its answer': text(LARGE),
    'with calls that wait in line': text(LARGE).repeat(5),
    'in the middle of one in line': text(LARGE) + text(LARGE.slice(0, 50_000)),
  }
  for (const [when, bytes] of Object.entries(moments)) {
    for (let round = 0; round < 5; round++) {
      const seen = upstream.seen.length
      const socket = await connectTo(url)
      socket.on('error', () => {})
      await new Promise((resolve) => socket.write(bytes, resolve))
      if (bytes.length >= LARGE.length) await eventually(() => upstream.seen.length > seen)
      socket.destroy()
    }
    let count = 0
    // The sidecar hears a little later that somebody has left.
    for (let tries = 0; tries < 20 && count < before.held.length; tries++) {
      upstream.release()
      const { held } = await fill(upstream, url, key)
      upstream.release()
      await Promise.all(held)
      count = held.length
    }
    t.equal(count, before.held.length, when)
  }
})

for (const [form, begin] of Object.entries({
  'as JSON': (response: ServerResponse) => { response.writeHead(200, { 'content-type': 'application/json' }).write(`{"jsonrpc":"2.0","id":1,"result":{"x":"${'y'.repeat(200_000)}"}}`) },
  'as one event': (response: ServerResponse) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: {"jsonrpc":"2.0","id":1,"result":{"x":"${'y'.repeat(200_000)}`) },
})) {
  t.test(`row 43: answers that a tool policy must read, ${form}, are held where there is room for them`, async (t) => {
    const upstream = await startWaiting(t, begin)
    const { url, sidecar } = await startFlow(t, upstream.origin, 'body_limit: 64KiB', { limits })
    const key = await sidecar.keyFor('alice', 'narrow', { deny: ['x_*'] })
    const overloaded = (): number => sidecar.events.filter((event) => event.event === 'failed' && event.code === 'ERR_OVERLOADED').length
    const calls: Array<Promise<number | undefined>> = []
    for (let count = 1; overloaded() === 0; count++) {
      if (count > 20) throw new Error('nobody was refused')
      calls.push(call(url, { key, body: rpc('ping') }).then(({ status }) => status, () => undefined))
      await eventually(() => upstream.seen.length === count)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    t.equal(calls.length, 3)
    t.equal(await calls[2], form === 'as JSON' ? 503 : undefined, 'half a stream is cut off')
    upstream.release()
    t.same(await Promise.all(calls.slice(0, 2)), [200, 200])
  })
}
