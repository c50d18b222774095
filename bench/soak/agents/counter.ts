import { count, textOf } from '../mcp.js'
import { between, type World } from '../world.js'
import type { Message, RawAgent, SseEvent } from '../wire.js'
import { openSession, progressOf, type McpSession } from './session.js'

const MOST_RESUMES = 8

/**
 * Long calls whose answer is a stream that outlives several tokens. Where it breaks, or the agent hangs up, the agent resumes it by
 * the id of the last event that it saw, and must get the rest: nothing lost, nothing twice.
 */
export async function countForLong (world: World, principal: string, agent: RawAgent, tally: Tally): Promise<void> {
  while (!world.signal.aborted) {
    const session = await openSession(world, principal, agent)
    if (session !== undefined) {
      await countOnce(world, principal, session, tally)
      await session.end()
    }
    await world.wait(between(500, 2_000))
  }
}

export interface Tally { counted: number, resumed: number }

async function countOnce (world: World, principal: string, session: McpSession, tally: Tally): Promise<void> {
  const n = Math.floor(between(5, 30))
  const seen: Message[] = []
  const at: { last?: string } = {}
  let hangUpAfter = Math.random() < 0.4 ? Math.floor(between(1, n - 2)) : Infinity
  const onEvent = ({ id }: SseEvent, leave: () => void): void => {
    if (id !== undefined) at.last = id
    if (--hangUpAfter === 0) leave()
  }
  const over = (): boolean => world.signal.aborted && seen.every(({ result }) => result === undefined)

  let leaveNow = (): void => {}
  const leaveWhenOver = (leave: () => void): void => {
    leaveNow = leave
    if (world.signal.aborted) leave()
  }
  const onOver = (): void => leaveNow()
  world.signal.addEventListener('abort', onOver, { once: true })
  let reply = await session.ask('a long call', { ...count(n, between(200, 1_000) | 0), onEvent, onOpen: leaveWhenOver })
  seen.push(...reply.messages)
  for (let resumes = 0; (reply.left || reply.broken !== undefined) && reply.status === 200 && at.last !== undefined; resumes++) {
    if (over() || resumes === MOST_RESUMES) break
    await world.wait(between(50, 1_500))
    tally.resumed++
    reply = await session.ask('a resumed call', { method: 'GET', headers: { 'last-event-id': at.last }, onEvent, onOpen: leaveWhenOver })
    seen.push(...reply.messages)
  }
  world.signal.removeEventListener('abort', onOver)
  if (over() || at.last === undefined || reply.status !== 200) return
  tally.counted++
  const expected = Array.from({ length: n }, (_, i) => i + 1)
  const got = progressOf(seen)
  if (String(got) !== String(expected) || textOf(seen) !== `counted to ${n}`) {
    world.ledger.wrong('a stream with a gap', `${principal} to ${n}: ${got.join(' ')} and ${String(textOf(seen))}`)
  }
}
