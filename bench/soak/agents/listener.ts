import { plainTool, subjectOf } from '../mcp.js'
import { between, type World } from '../world.js'
import { RawAgent, type Message } from '../wire.js'
import { openSession } from './session.js'

const GET = { method: 'GET' } as const

/** Opens a stream that listens, calls beside it, and leaves after a while; again and again. */
export async function listen (world: World, principal: string, agent: RawAgent): Promise<void> {
  while (!world.signal.aborted) {
    const session = await openSession(world, principal, agent)
    if (session !== undefined) {
      let opened = false
      let leaving = false
      let leave = (): void => { leaving = true }
      const stream = session.ask('a stream', {
        ...GET,
        onOpen: (how) => {
          opened = true
          leave = how
          if (leaving) how()
        },
      })
      for (let turn = between(1, 5); turn > 0 && !world.signal.aborted; turn--) {
        await world.wait(between(1_000, 8_000))
        const reply = await session.ask('whoami beside a stream', plainTool('whoami'))
        if (reply.verdict === 'ok' && subjectOf(reply.messages) !== principal) world.ledger.wrong('a wrong answer', `whoami beside a stream of ${principal}`)
      }
      leave()
      const ended = await stream
      if (opened && !ended.left && ended.broken === undefined) world.ledger.wrong('a stream that ended by itself', principal)
      await session.end()
    }
    await world.wait(between(200, 1_000))
  }
}

/** A stream on which nothing is said for as long as the run lasts. */
export interface Silent {
  /** Seconds since it was opened. */
  readonly silentFor: number
  /** Says something on it, at last. @returns after how many milliseconds it was heard; undefined where it was not */
  poke (world: World): Promise<number | undefined>
  close (): Promise<void>
}

/** @throws an Error where it cannot be opened */
export async function openSilent (world: World): Promise<Silent> {
  const agent = new RawAgent(world.endpoint, world.configKey)
  const session = await openSession(world, 'alice', agent)
  if (session === undefined) throw new Error('the stream that shall stay silent could not be opened')
  let leave = (): void => {}
  let heard = (_at: number): void => {}
  let mark = ''
  const opened = new Promise<void>((resolve) => {
    void session.ask('the silent stream', {
      ...GET,
      onOpen: (how, id) => { leave = how; mark = id; resolve() },
      onEvent: ({ data }) => { if ((JSON.parse(data || '{}') as Message).method === 'notifications/message') heard(performance.now()) },
    }).then(({ left, broken }) => {
      if (!left) world.ledger.wrong('the silent stream ended', broken ?? 'by its upstream')
      resolve()
    })
  })
  await opened
  const since = performance.now()
  return {
    get silentFor () { return (performance.now() - since) / 1000 },
    async poke () {
      const started = performance.now()
      const arrival = new Promise<number | undefined>((resolve) => {
        heard = (at) => resolve(at - started)
        setTimeout(() => resolve(undefined), 10_000)
      })
      world.hop.poke(mark, 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"still here"}}\n\n')
      return await arrival
    },
    async close () {
      leave()
      await session.end()
      agent.close()
    },
  }
}
