/** The results as tables for a terminal. */
import { differences, type Bar } from './bars.js'
import { median, pairedRatio } from './lib/stats.js'
import type { Results } from './results.js'
import { find, middle, series, type Figures, type Row } from './scenarios/row.js'
import { LABELS, type Missing } from './targets/target.js'
import type { AnswerKind } from './wire.js'

export function report (results: Results, bars: Bar[]): string {
  const { machine: m, options: o, date } = results
  const rows = (kind: AnswerKind, all: Row[]): Row[] => all.filter(row => row.answer === kind)
  return [
    `mcp-valet bench, ${date}: node ${m.node}, ${m.cores} × ${m.cpu}, ${m.os}, load ${m.load.toFixed(2)} at the start`,
    `medians of ${o.rounds} rounds (${o.latencyRounds} at ${o.rate} calls/s), ${o.connections} connections; CPU of the proxy's process by ${cpuWords(m.cpuSource)}`,
    ...(['json', 'sse'] as const).flatMap(kind => throughput(kind, rows(kind, results.throughput), results)),
    ...(['json', 'sse'] as const).flatMap(kind => latency(kind, rows(kind, results.latency), results)),
    ...storm(results),
    ...overhead(results),
    '',
    ...align(bars.map(({ verdict, name, measured, limit }) => [verdict, name, measured.slice(0, 100), limit]), 4),
    '',
  ].join('\n')
}

function cpuWords (source: Results['machine']['cpuSource']): string {
  return { schedstat: '/proc/PID/task/*/schedstat', stat: '/proc/PID/stat (10 ms ticks)', none: 'nothing: no /proc here' }[source]
}

function throughput (kind: AnswerKind, rows: Row[], results: Results): string[] {
  if (rows.length === 0) return []
  const stock = find(rows, 'stock', kind)
  const against = (row: Row, figure: keyof Figures): string =>
    number(stock?.failed ?? row.failed ? undefined : pairedRatio(series(row, figure), series(stock, figure)), 2)
  return ['', ...align([
    [`${kind.toUpperCase()}, closed loop, ${results.options.calls} calls`, 'calls/s', 'p50 ms', 'p99 ms', 'CPU µs/call', 'RSS MiB', 'peak MiB',
      '÷ stock: calls/s', 'p50', 'p99', 'CPU'],
    ...rows.map(row => row.failed !== undefined
      ? [label(row), 'FAILED', row.failed.slice(0, 200)]
      : [label(row), number(middle(row, 'callsPerSecond'), 0), number(middle(row, 'p50'), 2), number(middle(row, 'p99'), 2),
          number(middle(row, 'cpu'), 0), number(middle(row, 'rss'), 0), number(middle(row, 'peak'), 0),
          against(row, 'callsPerSecond'), against(row, 'p50'), against(row, 'p99'), against(row, 'cpu')]),
    ...results.missing.map(absent),
  ], 1)]
}

function latency (kind: AnswerKind, rows: Row[], results: Results): string[] {
  const direct = find(rows, 'direct', kind)
  if (direct === undefined) return []
  const nginx = find(rows, 'nginx', kind)
  const plus = (row: Row | undefined, figure: 'p50' | 'p99'): number | undefined =>
    row === undefined || row === direct || row.failed !== undefined || direct.failed !== undefined ? undefined : median(differences(row, direct, figure))
  const ratio = (a?: number, b?: number): number | undefined => a === undefined || b === undefined || b <= 0 ? undefined : a / b
  return ['', ...align([
    [`${kind.toUpperCase()}, ${results.options.rate} calls/s`, 'p50 ms', 'p99 ms', 'added p50', 'added p99', '× nginx p50', '% of direct p50',
      'CPU µs/call', 'load late p50/p99'],
    ...rows.map(row => row.failed !== undefined
      ? [label(row), 'FAILED', row.failed.slice(0, 200)]
      : [label(row), number(middle(row, 'p50'), 3), number(middle(row, 'p99'), 3), number(plus(row, 'p50'), 3), number(plus(row, 'p99'), 3),
          number(ratio(plus(row, 'p50'), plus(nginx, 'p50')), 2), number(percent(ratio(plus(row, 'p50'), middle(direct, 'p50'))), 0),
          number(middle(row, 'cpu'), 0), `${number(middle(row, 'late50'), 3)}/${number(middle(row, 'late99'), 3)}`]),
    ...results.missing.map(absent),
  ], 1)]
}

function storm ({ storm }: Results): string[] {
  if (storm === undefined) return []
  const trouble = storm.failed ?? storm.missing
  return ['', ...align([
    ['refresh storm', 'callers', 'token requests', 'refused', 'upstream 401s', 'failed calls', 'p50 ms', 'p99 ms', 'all done ms'],
    ...storm.storms.map((s, n) => [`mcp-valet, storm ${n + 1}`, ...[s.callers, s.tokenRequests, s.tokenRefusals, s.upstream401, s.failures].map(String),
      number(s.p50, 0), number(s.p99, 0), number(s.total, 0)]),
    ...(trouble === undefined ? [] : [['mcp-valet', trouble]]),
  ], 1), ...storm.storms.flatMap(({ reasons }) => reasons.map(reason => `  failed: ${reason}`))]
}

function overhead ({ overhead, log }: Results): string[] {
  if (overhead === undefined) return []
  return ['', ...align([
    ["mcp-valet's own overhead, by its histogram", 'observations', 'p50 ms', 'p99 ms'],
    ...[...overhead.parts, overhead.total].map(({ part, observations, p50, p99 }) => [part, String(observations), number(p50, 3), number(p99, 3)]),
  ], 1), ...(log === undefined ? [] : [`its log: ${log.lines} lines, ${log.warnings} at warn or above`])]
}

function label (row: Row): string {
  return `${LABELS[row.target]} (${row.version})`
}

function absent ({ name, reason }: Missing): string[] {
  return [LABELS[name], reason.slice(0, 100)]
}

function percent (value: number | undefined): number | undefined {
  return value === undefined ? undefined : value * 100
}

function number (value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? '–' : value.toFixed(digits)
}

/** Columns as wide as they need be, the first `left` of them aligned to the left, a reason that ends a short row not counted. */
function align (table: string[][], left: number): string[] {
  const columns = Math.max(...table.map(row => row.length))
  const full = table.filter(row => row.length === columns)
  const widths = Array.from({ length: columns }, (_, n) =>
    Math.max(...(n === 0 ? table : full).map(row => row[n]!.length)))
  return table.map(row => row
    .map((cell, n) => n < left || row.length < columns ? cell.padEnd(n === 0 || row.length === columns ? widths[n]! : 0) : cell.padStart(widths[n]!))
    .join('  ').trimEnd())
}
