import { call } from './agents/caller.js'
import { countForLong, type Tally } from './agents/counter.js'
import { listen } from './agents/listener.js'
import { useSdk } from './agents/sdk.js'
import { visit, type Visits } from './agents/visitor.js'
import { disturb, type Disturbances } from './disturb.js'
import { NIGHTLY, PEOPLE, type World } from './world.js'

const COUNTERS = 6
const LISTENERS = 6
const OFFICIAL = 4
const VISITORS = 4

export interface Crowd {
  /** Each ends soon after the run is over. */
  readonly agents: ReadonlyArray<Promise<void>>
  readonly visits: Visits
  readonly counted: Tally
  readonly disturbances: Disturbances
}

/** Lets everybody in who calls, and all that gets in their way. */
export async function crowd (world: World, callers: number, totalMs: number): Promise<Crowd> {
  const principals = [...PEOPLE, NIGHTLY]
  const visits: Visits = { sessions: 0, principals: 0 }
  const counted: Tally = { counted: 0, resumed: 0 }
  const disturbances: Disturbances = { outages: 0, revocations: 0, reloads: 0, reloadable: false }
  const agents: Array<Promise<void>> = []
  const enter = async (count: number, name: string, live: (principal: string, session: Awaited<ReturnType<World['open']>>, nth: number) => Promise<void>): Promise<void> => {
    for (let nth = 0; nth < count; nth++) {
      const principal = principals[nth % principals.length] as string
      const session = await world.open(principal, `${name}-${nth}`)
      agents.push(live(principal, session, nth).finally(() => session.agent.close()))
    }
  }
  await enter(callers, 'caller', async (principal, { agent }) => await call(world, principal, agent))
  await enter(COUNTERS, 'counter', async (principal, { agent }) => await countForLong(world, principal, agent, counted))
  await enter(LISTENERS, 'listener', async (principal, { agent }) => await listen(world, principal, agent))
  await enter(OFFICIAL, 'official', async (principal, { key }, nth) => await useSdk(world, principal, key, nth % 2 === 0 ? 'legacy' : { pin: '2026-07-28' }))
  for (let nth = 0; nth < VISITORS; nth++) agents.push(visit(world, nth, visits))
  agents.push(...disturb(world, totalMs, disturbances))
  return { agents, visits, counted, disturbances }
}
