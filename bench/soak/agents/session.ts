import { initialize, initialized, inSession } from '../mcp.js'
import type { World } from '../world.js'
import type { Asked, RawAgent, Reply } from '../wire.js'

/** An MCP session of a protocol version that has them. */
export interface McpSession {
  ask (what: string, asked: Asked): ReturnType<RawAgent['ask']>
  end (): Promise<void>
}

/** @returns undefined where opening it failed, which has been written down */
export async function openSession (world: World, principal: string, agent: RawAgent): Promise<McpSession | undefined> {
  const { session, verdict } = await agent.ask(world.ledger, principal, 'initialize', initialize)
  if (verdict !== 'ok' || session === undefined) return undefined
  const ask: McpSession['ask'] = async (what, asked) => await agent.ask(world.ledger, principal, what, inSession(session, asked))
  const ready = await ask('initialized', initialized)
  return ready.verdict === 'ok' ? { ask, end: async () => { await ask('DELETE', { method: 'DELETE' }) } } : undefined
}

export function progressOf (messages: Reply['messages']): number[] {
  return messages.filter(({ method }) => method === 'notifications/progress').map(({ params }) => Number(params?.progress))
}
