import { stateless, subjectOf, textOf, tool } from '../mcp.js'
import { between, type World } from '../world.js'
import type { RawAgent, Reply } from '../wire.js'

/** After a failure an agent draws breath, as agents do. */
const BREATH = 1_000

/** Calls one tool after another, and looks at each answer: it must be this principal's, and the one that was asked for. */
export async function call (world: World, principal: string, agent: RawAgent, over: AbortSignal = world.signal): Promise<void> {
  while (!over.aborted && !world.signal.aborted) {
    const verdict = await callOnce(world, principal, agent)
    await world.wait(verdict === 'ok' ? between(100, 500) : BREATH)
  }
}

export async function callOnce (world: World, principal: string, agent: RawAgent): Promise<string> {
  const { what, asked, fits } = draw(principal)
  const reply = await agent.ask(world.ledger, principal, what, asked)
  if (reply.verdict === 'ok' && !fits(reply)) world.ledger.wrong('a wrong answer', `${what} of ${principal}: ${JSON.stringify(reply.messages).slice(0, 300)}`)
  return reply.verdict
}

function draw (principal: string) {
  const which = Math.random()
  if (which < 0.7) return { what: 'whoami', asked: tool('whoami'), fits: ({ messages }: Reply) => subjectOf(messages) === principal }
  if (which < 0.9) {
    const [a, b] = [Math.floor(between(0, 1000)), Math.floor(between(0, 1000))]
    return { what: 'add', asked: tool('add', { a, b }), fits: ({ messages }: Reply) => textOf(messages) === String(a + b) }
  }
  return { what: 'tools/list', asked: stateless('tools/list'), fits: ({ messages }: Reply) => namesOf(messages).length === 4 }
}

export function namesOf (messages: Reply['messages']): string[] {
  return ((messages.at(-1)?.result?.tools ?? []) as Array<{ name: string }>).map(({ name }) => name)
}
