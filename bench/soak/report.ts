import { time, type Bound } from './bounds.js'
import type { Results } from './results.js'
import { JUDGED_FROM } from './options.js'
import type { Third } from './thirds.js'
import { overheadOf, type Overhead, type Sample } from './watch.js'

const ROWS = 12

/** The report of a run, for people. */
export function report (results: Results, bounds: readonly Bound[]): string {
  const { ledger, visits, counted, disturbances, silent, log } = results
  const lines = [
    `mcp-valet, ${time(results.seconds)} on Node ${results.node}${results.early === undefined ? '' : ` (ended early: ${results.early})`}`,
    '',
    `calls                     ${ledger.calls}, ${(ledger.calls / results.seconds).toFixed(0)} a second`,
    `failures that were made   ${ledger.injectedTotal}${list(ledger.injected)}`,
    `failures of ours          ${ledger.oursTotal}${list(ledger.ours)}`,
    ...ledger.examples.map((example) => `    ${example}`),
    `faults made               ${list(ledger.made).slice(2) || 'none'}`,
    `authentication failures   ${rate(ledger.authentication.ours, ledger.calls)} of ours, ${rate(ledger.authentication.injected, ledger.calls)} made`,
    `refreshes                 ${list(results.refreshes).slice(2)}`,
    `replays                   ${list(results.replays).slice(2)}`,
    `overhead                  ${overheadText(results.overhead)}`,
    `came and went             ${visits.sessions} sessions, ${visits.principals} of them of principals that came and went with them`,
    `long calls                ${counted.counted} streams whole, after ${counted.resumed} resumptions`,
    `the silent stream         ${time(silent.seconds)}`,
    `over all of it            ${disturbances.outages} outages of the issuer, ${disturbances.revocations} grants ended, ${disturbances.reloadable ? `${disturbances.reloads} reloads` : 'no reload: this sidecar does not listen for SIGHUP'}`,
    `log                       ${log.lines} lines${list(log.errors)}${list(log.faults)}${log.strange === undefined ? '' : `; no JSON: ${log.strange.slice(0, 200)}`}`,
    '',
    ...overTime(results),
    '',
    ...inThirds(results.thirds),
    '',
    ...bounds.map(({ what, figure, verdict }) => `${verdict.padEnd(10)}  ${what.padEnd(76)}  ${figure}`),
    ...(bounds.some(({ verdict }) => verdict === 'not judged') ? [`(memory and descriptors are judged in runs of ${JUDGED_FROM} minutes and more)`] : []),
  ]
  return lines.join('\n') + '\n'
}

/** One line on how it goes. */
export function progress (now: Sample, before: Sample | undefined): string {
  const { calls, injected, ours, refreshes, replays, anon, descriptors, streams } = now
  const overhead = overheadOf(now, before)
  return `${time(now.at).padStart(11)}  ${calls} calls, ${injected} failed as made, ${ours} of ours; ${refreshes} refreshes, ${replays} replays; p99 ${overhead?.p99.toFixed(2) ?? '–'} ms; ${anon.toFixed(0)} MiB, ${descriptors} descriptors, ${streams} streams`
}

function overTime ({ samples, start }: Results): string[] {
  const step = Math.max(1, Math.ceil(samples.length / ROWS))
  const chosen = samples.filter((_, i) => (i + 1) % step === 0 || i === samples.length - 1)
  const head = ['minute', 'calls', 'made', 'ours', 'refreshes', 'replays', 'p50 ms', 'p99 ms', 'RSS MiB', 'RssAnon', 'heap', 'live heap', 'fds', 'streams', 'loop p99 ms']
  const rows = chosen.map((sample, i) => {
    const before = chosen[i - 1] ?? start
    const overhead = overheadOf(sample, before)
    return [
      (sample.at / 60).toFixed(1), sample.calls - before.calls, sample.injected - before.injected, sample.ours - before.ours, sample.refreshes - before.refreshes, sample.replays - before.replays,
      overhead?.p50.toFixed(3) ?? '–', overhead?.p99.toFixed(2) ?? '–', sample.rss.toFixed(1), sample.anon.toFixed(1), sample.heap?.used.toFixed(1) ?? '–', sample.heap?.live?.toFixed(1) ?? '–',
      sample.descriptors, sample.streams, sample.heap?.loopDelayMs.toFixed(0) ?? '–',
    ].map(String)
  })
  return table(head, rows)
}

function inThirds (thirds: Results['thirds']): string[] {
  if (thirds === undefined) return ['too short for thirds']
  const row = (name: string, pick: (third: Third) => number, digits = 1): string[] => [name, ...thirds.map((third) => pick(third).toFixed(digits)), (pick(thirds[2]) / pick(thirds[1])).toFixed(3)]
  return table(['medians of thirds', 'first', 'middle', 'last', 'last ÷ middle'], [
    row('RssAnon MiB (judged)', ({ anon }) => anon),
    row('RSS MiB, LMDB\'s map included', ({ rss }) => rss),
    row('heap MiB, garbage included', ({ heap }) => heap),
    row('heap MiB after a full collection', ({ live }) => live),
    row('descriptors (judged)', ({ descriptors }) => descriptors, 0),
    row('streams', ({ streams }) => streams, 0),
  ])
}

function table (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string[] {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: readonly string[]): string => cells.map((cell, i) => i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)).join('  ')
  return [head, ...rows].map(line)
}

function list (counts: Readonly<Record<string, number>>): string {
  const entries = Object.entries(counts).sort(([, a], [, b]) => b - a)
  return entries.length === 0 ? '' : `: ${entries.map(([name, count]) => `${count} × ${name}`).join(', ')}`
}

function rate (failed: number, calls: number): string {
  return `${failed} (${(failed / Math.max(1, calls) * 100).toFixed(3)} %)`
}

function overheadText (overhead: Overhead | undefined): string {
  return overhead === undefined ? 'none observed' : `p50 ${overhead.p50.toFixed(3)} ms, p99 ${overhead.p99.toFixed(2)} ms over ${overhead.calls} calls that waited for no refresh`
}
