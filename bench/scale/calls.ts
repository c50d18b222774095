/** What a call costs whose session key this connection has not shown before: the median of many, in microseconds. */
import { Agent, request } from 'node:http'
import { median } from '../lib/stats.js'

export async function callMicros (url: string, keys: readonly string[], calls: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const took: number[] = []
  for (let nth = 0; nth < calls; nth++) {
    const started = performance.now()
    await call(url, keys[nth % keys.length] as string, agent)
    took.push((performance.now() - started) * 1000)
  }
  agent.destroy()
  return median(took.slice(Math.floor(calls / 4)))
}

async function call (url: string, key: string, agent: Agent): Promise<void> {
  const body = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
  await new Promise<void>((resolve, reject) => {
    request(url, { method: 'POST', agent, headers: { 'x-session-key': key, 'content-type': 'application/json', 'content-length': body.length } }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`a call was answered with ${response.statusCode}`))
      response.resume().on('end', resolve).on('error', reject)
    }).on('error', reject).end(body)
  })
}
