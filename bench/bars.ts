/**
 * The bars that mcp-valet has set itself. A bar says what was measured and compares it; it never leaves anything out of it.
 * A row that failed is a MISS. SKIP is for what this machine cannot measure.
 */
import { median, quantile, ratios } from './lib/stats.js'
import type { Results } from './results.js'
import { find, series, type Row } from './scenarios/row.js'
import type { AnswerKind } from './wire.js'

export interface Bar { name: string, limit: string, measured: string, verdict: 'PASS' | 'MISS' | 'SKIP' }

const CPU_LIMIT = 0.8
const OPEN_LIMIT = 1.05
const ADDED_LIMIT = 3
const OVERHEAD_LIMIT_MS = 5

export function bars (results: Results): Bar[] {
  const { only } = results.options
  const kinds = (['json', 'sse'] as const).filter(kind => only.includes(kind))
  return [
    ...kinds.map(kind => cpuBar(results, kind)),
    ...kinds.map(kind => openBar(results, kind)),
    ...(only.includes('latency') ? (['json', 'sse'] as const).map(kind => addedBar(results, kind)) : []),
    ...(only.includes('storm') ? [stormBar(results)] : []),
    ...(kinds.length > 0 || only.includes('latency') ? [overheadBar(results)] : []),
  ]
}

function cpuBar (results: Results, kind: AnswerKind): Bar {
  const bar = { name: `CPU per call, ${kind}`, limit: `≤ ${CPU_LIMIT} × stock @fastify/http-proxy` }
  const valet = find(results.throughput, 'valet', kind)
  const stock = find(results.throughput, 'stock', kind)
  const trouble = excuse(results, [valet, 'valet'], [stock, 'stock'])
  if (trouble) return { ...bar, ...trouble }
  return { ...bar, ...cpuRatio(valet, stock, CPU_LIMIT) }
}

function openBar (results: Results, kind: AnswerKind): Bar {
  const bar = { name: `CPU per call with policies of *, ${kind}`, limit: `≤ ${OPEN_LIMIT} × without any` }
  const open = find(results.throughput, 'valet-open', kind)
  const none = find(results.throughput, 'valet', kind)
  const trouble = excuse(results, [open, 'valet-open'], [none, 'valet'])
  if (trouble) return { ...bar, ...trouble }
  return { ...bar, ...cpuRatio(open, none, OPEN_LIMIT) }
}

function cpuRatio (row: Row | undefined, other: Row | undefined, limit: number): Pick<Bar, 'measured' | 'verdict'> {
  const all = ratios(series(row, 'cpu'), series(other, 'cpu'))
  if (all.length === 0) return { measured: 'the OS tells no CPU time', verdict: 'SKIP' }
  const ratio = median(all)
  const measured = `${ratio.toFixed(2)} × (rounds ${Math.min(...all).toFixed(2)} to ${Math.max(...all).toFixed(2)})`
  return { measured, verdict: ratio <= limit ? 'PASS' : 'MISS' }
}

function addedBar (results: Results, kind: AnswerKind): Bar {
  const bar = { name: `added p50 at ${results.options.rate} calls/s, ${kind}`, limit: `≤ ${ADDED_LIMIT} × what nginx adds` }
  const [direct, valet, nginx] = (['direct', 'valet', 'nginx'] as const).map(name => find(results.latency, name, kind))
  const trouble = excuse(results, [valet, 'valet'], [nginx, 'nginx'], [direct, 'direct'])
  if (trouble) return { ...bar, ...trouble }
  const [ours, theirs] = [differences(valet!, direct!, 'p50'), differences(nginx!, direct!, 'p50')]
  const figures = `${spread(ours)}, nginx ${spread(theirs)}`
  // Not divided within each round: where noise makes nginx' share tiny or negative, a ratio says nothing, or flatters.
  if (!(quantile(theirs, 0.25) > 0)) return { ...bar, measured: `too noisy here: ${figures}`, verdict: 'SKIP' }
  const ratio = median(ours) / median(theirs)
  return { ...bar, measured: `${ratio.toFixed(2)} × (${figures})`, verdict: ratio <= ADDED_LIMIT ? 'PASS' : 'MISS' }
}

/** The median and the middle half, ms. */
function spread (values: number[]): string {
  const [low, high] = [quantile(values, 0.25), quantile(values, 0.75)].map(value => value.toFixed(3))
  return `${median(values).toFixed(3)} ms [${low} to ${high}]`
}

function stormBar ({ storm, options }: Results): Bar {
  const bar = { name: `refresh storm, ${options.callers} callers`, limit: 'one token request, no failed call' }
  if (storm?.missing !== undefined) return { ...bar, measured: `mcp-valet: ${storm.missing}`, verdict: 'SKIP' }
  if (storm === undefined || storm.failed !== undefined) return { ...bar, measured: storm?.failed ?? 'did not run', verdict: 'MISS' }
  const clean = storm.storms.every(({ tokenRequests, failures }) => tokenRequests === 1 && failures === 0)
  const measured = storm.storms.map(({ tokenRequests, failures }) => `${tokenRequests} request(s), ${failures} failed`).join('; ')
  return { ...bar, measured, verdict: clean && storm.storms.length > 0 ? 'PASS' : 'MISS' }
}

function overheadBar (results: Results): Bar {
  const { overhead } = results
  const bar = { name: 'own overhead, p99 of all observations', limit: `< ${OVERHEAD_LIMIT_MS} ms` }
  const missing = results.missing.find(({ name }) => name === 'valet')
  if (missing) return { ...bar, measured: `mcp-valet: ${missing.reason}`, verdict: missing.absent ? 'SKIP' : 'MISS' }
  const failed = [...results.throughput, ...results.latency].find(row => row.target === 'valet' && row.failed !== undefined)
  if (failed) return { ...bar, measured: `${failed.answer} row: ${failed.failed}`, verdict: 'MISS' }
  if (overhead === undefined) return { ...bar, measured: 'mcp_valet_overhead_seconds is not in /metrics', verdict: 'MISS' }
  const { total, sent } = overhead
  if (total.observations < sent) {
    return { ...bar, measured: `the histogram has ${total.observations} of ${sent} calls`, verdict: 'MISS' }
  }
  const measured = `${total.p99.toFixed(3)} ms of ${total.observations} calls`
  return { ...bar, measured, verdict: total.p99 < OVERHEAD_LIMIT_MS ? 'PASS' : 'MISS' }
}

/** What the target adds to direct in each round, ms. Rows that failed have no business here: their rounds don't match. */
export function differences (row: Row, direct: Row, figure: 'p50' | 'p99'): number[] {
  return row.rounds.map((round, n) => round[figure] - direct.rounds[n]![figure])
}

/** Why a bar cannot be judged by its figures: our row failed (MISS), or another that it is compared with is not there (SKIP). */
function excuse (results: Results, ...rows: [Row | undefined, string][]): Pick<Bar, 'measured' | 'verdict'> | undefined {
  for (const [row, name] of rows) {
    const missing = results.missing.find(target => target.name === name)
    if (row !== undefined && row.failed === undefined) continue
    const measured = `${name}: ${row?.failed ?? missing?.reason ?? 'did not run'}`
    return { measured, verdict: name === 'valet' && missing?.absent !== true ? 'MISS' : 'SKIP' }
  }
  return undefined
}
