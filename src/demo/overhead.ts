import type { Overhead } from './report.js'

const SAMPLE = /^mcp_valet_overhead_seconds_(sum|count)\{([^}]*)\} (\S+)$/

/**
 * The sidecar's own part of a call, read from its metrics: the mean over all calls that met no refresh.
 *
 * @param metrics Prometheus text exposition
 * @returns undefined when there was no such call
 */
export function parseOverhead (metrics: string): Overhead | undefined {
  const totals = { sum: 0, count: 0 }
  for (const line of metrics.split('\n')) {
    const [, total, labels, value] = SAMPLE.exec(line) ?? []
    if (labels?.includes('refreshed="false"')) totals[total as 'sum' | 'count'] += Number(value)
  }
  return totals.count === 0 ? undefined : { meanSeconds: totals.sum / totals.count, calls: totals.count }
}
