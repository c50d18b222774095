import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { Agent as Connections, fetch } from 'undici'
import { whatFailed } from '../../../src/demo/steady-agent.js'
import { MARK } from '../hop.js'
import type { Trail } from '../ledger.js'
import { between, type World } from '../world.js'

/** Above the deadline of a call and the patience with its upstream together. */
const TIMEOUT = 50_000
type Ask = <T>(what: string, work: () => Promise<T>) => Promise<T | undefined>

/**
 * An agent on the official client, in one protocol era or the other. One operation of it may be several exchanges, and it hides their
 * answers, so what is judged here is the operation: it may fail where any of them was made to.
 */
export async function useSdk (world: World, principal: string, key: string, mode: 'legacy' | { pin: string }): Promise<void> {
  while (!world.signal.aborted) {
    let trail: Trail | undefined
    const connections = new Connections()
    const client = new Client({ name: 'soak', version: '1.0.0' }, { versionNegotiation: { mode } })
    const transport = new StreamableHTTPClientTransport(new URL(world.endpoint), {
      requestInit: { headers: { 'X-Session-Key': key } },
      fetch: (async (url: string, init: { headers?: ConstructorParameters<typeof Headers>[0] }) => {
        const headers = new Headers(init.headers)
        if (trail !== undefined) headers.set(MARK, trail.id)
        return await fetch(url, { ...init, headers: [...headers], dispatcher: connections } as never)
      }) as unknown as typeof globalThis.fetch,
    })
    const ask: Ask = async (what, work) => {
      trail = world.ledger.begin(principal, `${what} by the official client`)
      try {
        const result = await work()
        world.ledger.endOperation(trail)
        return result
      } catch (error) {
        world.ledger.endOperation(trail, whatFailed(error).code)
        return undefined
      }
    }
    let connected = await ask('connect', async () => { await client.connect(transport, { timeout: TIMEOUT }); return true }) === true
    for (let calls = between(5, 60); calls > 0 && connected && !world.signal.aborted; calls--) {
      const answer = await ask('whoami', async () => await client.callTool({ name: 'whoami' }, { timeout: TIMEOUT }))
      // After a failure it connects anew, as agents do.
      connected = answer !== undefined
      const { subject } = (answer?.structuredContent ?? {}) as { subject?: unknown }
      if (connected && subject !== principal) world.ledger.wrong('a wrong answer', `whoami of ${principal} by the official client`)
      await world.wait(between(100, 500))
    }
    await transport.terminateSession().catch(() => {})
    await client.close()
    await connections.destroy()
    await world.wait(1_000)
  }
}
