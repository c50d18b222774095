import { VERSION } from '../../version.js'
import type { AdminOptions } from './options.js'
import { eventText } from './watchers.js'

/** How it goes, without a name of anybody: as much as /metrics and /readyz tell. */
export async function figuresText ({ metrics, unready, clock, settings }: AdminOptions): Promise<string> {
  const figures = await metrics.figures()
  return eventText('figures', {
    version: VERSION,
    at: new Date(clock.now()).toISOString(),
    /** Seconds on a scale without a beginning, for rates. */
    elapsed: clock.elapsed() / 1000,
    unready: unready(),
    /** Whether there is an API under /v1. */
    api: settings().token !== undefined,
    ...figures,
    credentials: figures.credentials.map(({ soonest, ...census }) => ({ ...census, soonest: soonest ?? null })),
  })
}
