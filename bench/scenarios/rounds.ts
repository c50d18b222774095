/** The order of things that both the closed and the open loop share: warm up, then every row in turn, round after round. */
import { cpuTime, memory } from '../lib/proc.js'
import { quantile, inTurns } from '../lib/stats.js'
import type { Load } from '../lib/load.js'
import type { Outcome } from '../load/protocol.js'
import type { Options } from '../options.js'
import type { Target } from '../targets/target.js'
import { PATHS, type AnswerKind } from '../wire.js'
import { find, rowsFor, type Figures, type Row } from './row.js'

export interface Plan {
  title: string
  load: Load
  targets: Target[]
  kinds: AnswerKind[]
  rounds: number
  options: Options
  /** Calls of each row before its first round; fewer before the others, which need only their new connections warm. */
  warmup: number
  measure: (load: Load) => Promise<Outcome>
  progress: (line: string) => void
}

export async function runRounds (plan: Plan): Promise<Row[]> {
  const { targets, kinds, rounds, options } = plan
  const rows = rowsFor(targets, kinds)
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (const target of inTurns(targets, round)) {
        const row = find(rows, target.name, kind)!
        if (row.failed !== undefined) continue
        const warmup = round === 0 ? plan.warmup : options.connections * 10
        const name = `${plan.title} ${kind}, round ${round + 1}/${rounds}, ${target.name}`
        try {
          const figures = await runOne(plan, target, kind, warmup)
          row.rounds.push(figures)
          plan.progress(`${name}: ${figures.callsPerSecond.toFixed(0)} calls/s, p50 ${figures.p50.toFixed(2)} ms` +
            (figures.cpu === undefined ? '' : `, ${figures.cpu.toFixed(0)} µs CPU per call`))
        } catch (error) {
          row.failed = (error as Error).message
          plan.progress(`${name}: FAILED: ${row.failed}`)
        }
      }
    }
  }
  return rows
}

async function runOne ({ load, options, measure }: Plan, target: Target, answer: AnswerKind, warmup: number): Promise<Figures> {
  const { port, headers } = target
  const pid = target.child?.pid
  await load.open({ port, path: PATHS[answer], headers, answer }, options.connections, warmup)
  try {
    const before = pid && cpuTime(pid)
    const outcome = await measure(load)
    const after = pid && cpuTime(pid)
    const { calls, failures, reasons, seconds, latencies, late } = outcome
    if (failures > 0) throw new Error(`${failures} of ${calls} calls failed: ${reasons.join('; ')}`)
    const size = pid ? memory(pid) : undefined
    return {
      callsPerSecond: calls / seconds,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99),
      cpu: before === undefined || after === undefined ? undefined : (after - before) / calls,
      rss: size?.rss,
      peak: size?.peak,
      ...(late && { late50: quantile(late, 0.5), late99: quantile(late, 0.99) }),
    }
  } finally {
    await load.close()
  }
}
