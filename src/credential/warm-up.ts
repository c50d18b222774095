import { pause, type Clock } from '../clock.js'
import type { Provider } from './provider.js'
import { within } from './within.js'

/** Credentials that one issuer is asked for side by side at the start; more would look like an attack to it. */
const WARM_AT_ONCE = 8
/** Milliseconds after which the next ones are begun, though an issuer still owes its answers. */
const WARM_PATIENCE = 1_000

/** Gets credentials ready, a few at a time for each issuer. One that cannot be had holds no other up. */
export async function warmUp (providers: Iterable<Provider>, clock: Clock, closed: AbortSignal): Promise<void> {
  const lanes = new Map<string, Provider[]>()
  for (const provider of providers) {
    const lane = lanes.get(provider.asks)
    lane === undefined ? lanes.set(provider.asks, [provider]) : lane.push(provider)
  }
  await Promise.all([...lanes.values()].map(async (lane) => await warmLane(lane, clock, closed)))
}

async function warmLane (lane: Provider[], clock: Clock, closed: AbortSignal): Promise<void> {
  const waiting = lane.values()
  const worker = async (): Promise<void> => {
    for (const provider of waiting) {
      const done = new AbortController()
      const patience = pause(clock, WARM_PATIENCE, AbortSignal.any([done.signal, closed]))
      await Promise.race([provider.warm(), patience])
      done.abort()
      if (closed.aborted) return
    }
  }
  await Promise.all(Array.from({ length: WARM_AT_ONCE }, worker))
}

/** Gets some ready, for as long as somebody waits for that. Never throws. */
export async function warmed (providers: readonly Provider[], clock: Clock, patience: number): Promise<void> {
  await Promise.all(providers.map(async (provider) => {
    await within(clock, provider.warm(), clock.elapsed() + patience, () => new Error('later')).catch(() => {})
  }))
}
