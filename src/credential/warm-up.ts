import type { Clock } from '../clock.js'
import type { Provider } from './provider.js'
import { within } from './within.js'

/** Credentials that one issuer is asked for side by side; more would look like an attack to it. */
const AT_ONCE = 8
/** Milliseconds after which the next ones are begun, though an issuer still owes its answers. */
const PATIENCE = 1_000
/** Principals whose credentials are made in one turn of the event loop. */
const IN_ONE_TURN = 20

/** Gets credentials ready. */
export async function warmUp (providers: Iterable<Provider>, clock: Clock, closed: AbortSignal): Promise<void> {
  await aFewAtATime(providers, async (provider) => await provider.warm(), clock, closed)
}

/**
 * Asks a few at a time of each issuer. One that cannot be had holds no other up.
 * @param ask never rejects
 */
export async function aFewAtATime (providers: Iterable<Provider>, ask: (provider: Provider) => Promise<void>, clock: Clock, closed?: AbortSignal): Promise<void> {
  const lanes = new Map<string, Provider[]>()
  for (const provider of providers) {
    const lane = lanes.get(provider.asks)
    lane === undefined ? lanes.set(provider.asks, [provider]) : lane.push(provider)
  }
  // Not by AbortSignal.any: what that makes of a signal which lives long is kept as long in Node 20.
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => { end = resolve })
  closed?.addEventListener('abort', end)
  await Promise.all([...lanes.values()].flatMap((lane) => {
    const waiting = lane.values()
    return Array.from({ length: AT_ONCE }, async () => {
      for (const provider of waiting) {
        await atMost(PATIENCE, Promise.race([ask(provider), ended]), clock)
        if (closed?.aborted === true) return
      }
    })
  }))
  closed?.removeEventListener('abort', end)
}

async function atMost (ms: number, work: Promise<void>, clock: Clock): Promise<void> {
  let cancel = (): void => {}
  await Promise.race([work, new Promise<void>((resolve) => { cancel = clock.after(ms, resolve) })])
  cancel()
}

/** Gets some ready, for as long as somebody waits for that. Never throws. */
export async function warmed (providers: readonly Provider[], clock: Clock, patience: number): Promise<void> {
  await Promise.all(providers.map(async (provider) => {
    await within(clock, provider.warm(), clock.elapsed() + patience, () => new Error('later')).catch(() => {})
  }))
}

/** Gives them a few at a time, with a turn of the event loop for others before each few. */
export async function * inTurns<T> (all: readonly T[]): AsyncGenerator<T> {
  for (const [nth, one] of all.entries()) {
    if (nth % IN_ONE_TURN === 0) await new Promise((resolve) => { setImmediate(resolve) })
    yield one
  }
}
