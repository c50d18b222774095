/** What mcp-valet says of itself: its overhead histogram, over everything it was sent and by the part of the run. */
import { setTimeout as sleep } from 'node:timers/promises'
import { histogramQuantile, observations, readHistogram, since, type Histogram } from '../lib/histogram.js'

const METRIC = 'mcp_valet_overhead_seconds'

/** Quantiles in ms, interpolated in the histogram's buckets. */
export interface OverheadPart { part: string, observations: number, p50: number, p99: number }

export class OverheadReader {
  readonly parts: OverheadPart[] = []
  #url: string
  #last: Histogram | undefined
  constructor (metricsUrl: string) { this.#url = metricsUrl }

  /** Notes what was observed since the last time, under that name. */
  async read (part: string): Promise<void> {
    await sleep(200)
    const now = readHistogram(await this.#scrape(), METRIC)
    if (now === undefined) return
    this.parts.push(summary(part, since(now, this.#last)))
    this.#last = now
  }

  /** Nothing where the sidecar has died: its rows say FAILED, and the benchmark goes on. */
  async #scrape (): Promise<string> {
    try {
      const answer = await fetch(this.#url, { signal: AbortSignal.timeout(5000) })
      return await answer.text()
    } catch {
      return ''
    }
  }

  /** Over all observations since the sidecar started, warm-up included. */
  total (): OverheadPart | undefined {
    return this.#last && summary('all', this.#last)
  }
}

function summary (part: string, histogram: Histogram): OverheadPart {
  return {
    part,
    observations: observations(histogram),
    p50: histogramQuantile(histogram, 0.5) * 1000,
    p99: histogramQuantile(histogram, 0.99) * 1000,
  }
}
