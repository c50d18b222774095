import { setTimeout as sleep } from 'node:timers/promises'
import { initialize, inSession, stateless, tool } from '../mcp.js'
import { between, oneOf, PEOPLE, type World } from '../world.js'
import type { RawAgent } from '../wire.js'
import { call, namesOf } from './caller.js'

/** A session's end reaches its calls and streams at once; this leaves room for a busy machine. */
const END_WITHIN = 5_000
const ONLY = ['whoami', 'add', 'slow_count', 'search_notes'] as const

export interface Visits { sessions: number, principals: number }

/** Agents that come and go: a session of their own over the admin API, some of it for a principal of their own, and then no more. */
export async function visit (world: World, nth: number, visits: Visits): Promise<void> {
  for (let turn = 0; !world.signal.aborted; turn++) {
    const kind = oneOf(['revoked', 'revoked', 'expired', 'limited', 'principal'] as const)
    await visitors[kind](world, `visitor-${nth}-${turn}`).then(() => {
      visits.sessions++
      if (kind === 'principal') visits.principals++
    }, (error: Error) => world.ledger.wrong('the admin API failed', error.message))
    await world.wait(between(100, 1_500))
  }
}

const visitors = {
  async revoked (world: World, name: string): Promise<void> {
    const principal = oneOf(PEOPLE)
    const { id, agent } = await world.open(principal, name, { ttl: '10m' })
    const stream = await listening(world, principal, agent)
    await stay(world, principal, agent, between(1_000, 12_000))
    await world.sidecar.ask('DELETE', `/sessions/${id}`)
    await refused(world, agent, 'a revoked session')
    if (stream === undefined) return agent.close()
    if (await Promise.race([stream.ended, sleep(END_WITHIN, 'open', { ref: false })]) === 'open') world.ledger.wrong('a stream outlived its session', principal)
    await tidyUp(world, principal, name, stream.session)
    agent.close()
  },

  async expired (world: World, name: string): Promise<void> {
    const { agent } = await world.open(oneOf(PEOPLE), name, { ttl: '3s' })
    await world.wait(3_200)
    if (!world.signal.aborted) await refused(world, agent, 'a session past its end')
    agent.close()
  },

  /** Sees and calls the tools that its session names, and no other. */
  async limited (world: World, name: string): Promise<void> {
    const principal = oneOf(PEOPLE)
    const denied = oneOf(ONLY)
    const { id, agent } = await world.open(principal, name, { ttl: '10m', tools: { deny: [denied] } })
    for (let turn = 0; turn < 5 && !world.signal.aborted; turn++) {
      const list = await agent.ask(world.ledger, principal, 'a filtered tools/list', stateless('tools/list'))
      if (list.verdict === 'ok' && (namesOf(list.messages).length !== 3 || namesOf(list.messages).includes(denied))) world.ledger.wrong('a tool that may not be seen', denied)
      const reply = await agent.ask(world.ledger, principal, 'a tool that may not be called', tool(denied))
      if (reply.verdict === 'ok' && reply.messages.at(-1)?.error?.code !== -32602) world.ledger.wrong('a tool that may not be called', denied)
      await world.wait(between(200, 1_000))
    }
    await world.sidecar.ask('DELETE', `/sessions/${id}`)
    agent.close()
  },

  async principal (world: World, name: string): Promise<void> {
    await put(world, name)
    const { agent } = await world.open(name, 'own')
    await stay(world, name, agent, between(5_000, 25_000))
    await world.sidecar.ask('DELETE', `/principals/${name}`)
    await refused(world, agent, 'a principal that has gone')
    agent.close()
    world.ledger.forget(name)
  },
}

/** Registers a principal with the tokens of a new login, or gives it new ones. */
export async function put (world: World, name: string): Promise<void> {
  await world.sidecar.ask('PUT', `/principals/${name}`, { credentials: { tools: await world.issuer.login(name) } })
}

/** A stream of that session, which ends with it; the break that this is to its agent is none to write down. */
async function listening (world: World, principal: string, agent: RawAgent): Promise<{ readonly session: string, readonly ended: Promise<unknown> } | undefined> {
  const { session, verdict } = await agent.ask(world.ledger, principal, 'initialize', initialize)
  if (verdict !== 'ok' || session === undefined) return undefined
  return { session, ended: agent.send(inSession(session, { method: 'GET' })) }
}

/** What a session key has opened belongs to its agent: with another key of its own, that ends it. */
async function tidyUp (world: World, principal: string, name: string, session: string): Promise<void> {
  const { id, agent } = await world.open(principal, name)
  await agent.ask(world.ledger, principal, 'DELETE under another key', inSession(session, { method: 'DELETE' }))
  await world.sidecar.ask('DELETE', `/sessions/${id}`)
  agent.close()
}

async function stay (world: World, principal: string, agent: RawAgent, ms: number): Promise<void> {
  await call(world, principal, agent, AbortSignal.timeout(Math.round(ms)))
}

/** What is over is refused with 401, and nothing else; written down only where it is not. */
async function refused (world: World, agent: RawAgent, what: string): Promise<void> {
  const { status, code, broken } = await agent.send({ ...tool('whoami'), patience: END_WITHIN })
  if (status !== 401 || (code !== 'ERR_SESSION_UNKNOWN' && code !== 'ERR_SESSION_EXPIRED')) world.ledger.wrong('what is over was not refused', `${what}: HTTP ${status} ${code ?? ''} ${broken ?? ''}`)
}
