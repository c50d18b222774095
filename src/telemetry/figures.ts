import type { CredentialCensus } from './events.js'

/** What the metrics say, put together for one look at it. Counts since the start, times in seconds. No name of a principal. */
export interface Figures {
  readonly calls: readonly CallFigures[]
  /** Without those that waited for a refresh, and those alone. */
  readonly overhead: { readonly plain: Distribution, readonly refreshed: Distribution }
  /** Waits for the upstreams' answers. */
  readonly upstream: { readonly sum: number, readonly count: number }
  readonly streams: number
  readonly credentials: readonly CredentialCensus[]
}

export interface CallFigures {
  readonly upstream: string
  readonly rpc_method: string
  readonly total: number
  /** Answered by a 5xx, by the upstream or the sidecar, or broken off. */
  readonly failed: number
  /** Refused by the sidecar, for what its caller did. */
  readonly refused: number
}

export interface Distribution {
  /** Upper bounds, ascending; what is above the last one has a count more. */
  readonly bounds: readonly number[]
  /** One a bucket, not cumulative. */
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

/** A value as the registry gives it. */
export interface Sample {
  readonly metricName?: string | undefined
  readonly labels: Partial<Record<string, string | number>>
  readonly value: number
}

/** @param requests samples of `requests_total` */
export function callFigures (requests: readonly Sample[]): CallFigures[] {
  const found = new Map<string, { upstream: string, rpc_method: string, total: number, failed: number, refused: number }>()
  for (const { labels, value } of requests) {
    const [upstream, method] = [String(labels.upstream), String(labels.rpc_method)]
    const entry = found.get(`${method} ${upstream}`) ?? { upstream, rpc_method: method, total: 0, failed: 0, refused: 0 }
    found.set(`${method} ${upstream}`, entry)
    entry.total += value
    if (labels.outcome === 'broken' || Number(labels.status) >= 500) entry.failed += value
    else if (labels.outcome === 'error') entry.refused += value
  }
  return [...found.values()]
}

/** All series of a histogram as one, of which the exposition format has cumulative buckets. */
export function distributionOf (samples: readonly Sample[]): Distribution {
  const buckets = new Map<number, number>()
  const ends = { sum: 0, count: 0 }
  for (const { metricName = '', labels: { le }, value } of samples) {
    if (le !== undefined) buckets.set(le === '+Inf' ? Infinity : Number(le), (buckets.get(le === '+Inf' ? Infinity : Number(le)) ?? 0) + value)
    else ends[metricName.endsWith('_sum') ? 'sum' : 'count'] += value
  }
  const cumulative = [...buckets].sort(([a], [b]) => a - b)
  return {
    bounds: cumulative.map(([bound]) => bound).filter((bound) => bound !== Infinity),
    counts: cumulative.map(([, value], i) => value - (cumulative[i - 1]?.[1] ?? 0)),
    ...ends,
  }
}
