/** Reads a Prometheus histogram from the text of /metrics and estimates quantiles as `histogram_quantile()` does. */

/** Upper bounds in ascending order, the last one +Inf, with the number of observations at or below each. */
export interface Histogram { bounds: number[], counts: number[] }

/** The histogram `name`, all its series added up; undefined if it isn't there. */
export function readHistogram (text: string, name: string): Histogram | undefined {
  const byBound = new Map<number, number>()
  for (const [, labels, value] of text.matchAll(new RegExp(`^${name}_bucket\\{([^}]*)\\} (\\S+)`, 'gm'))) {
    const le = /(?:^|,)le="([^"]+)"/.exec(labels!)?.[1]
    if (le === undefined) continue
    const bound = le === '+Inf' ? Infinity : Number(le)
    byBound.set(bound, (byBound.get(bound) ?? 0) + Number(value))
  }
  if (byBound.size === 0) return undefined
  const bounds = [...byBound.keys()].sort((a, b) => a - b)
  return { bounds, counts: bounds.map(bound => byBound.get(bound)!) }
}

export function observations (histogram: Histogram): number {
  return histogram.counts.at(-1) ?? 0
}

/** What `now` has more than `before` had. */
export function since (now: Histogram, before: Histogram | undefined): Histogram {
  const had = new Map(before?.bounds.map((bound, n) => [bound, before.counts[n]!]))
  return { bounds: now.bounds, counts: now.counts.map((count, n) => count - (had.get(now.bounds[n]!) ?? 0)) }
}

/** Linear inside the bucket that holds the quantile; in the last one its lower bound, as Prometheus says it. In seconds. */
export function histogramQuantile ({ bounds, counts }: Histogram, q: number): number {
  const total = counts.at(-1) ?? 0
  if (total === 0) return NaN
  const rank = q * total
  const n = counts.findIndex(count => count >= rank)
  const lower = n === 0 ? 0 : bounds[n - 1]!
  const below = n === 0 ? 0 : counts[n - 1]!
  if (bounds[n] === Infinity) return lower
  return lower + (bounds[n]! - lower) * (rank - below) / (counts[n]! - below)
}
