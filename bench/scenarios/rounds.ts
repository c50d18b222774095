/** The order of things that both the closed and the open loop share: warm up, then every row in turn, round after round. */
import { cpuTime, memory } from '../lib/proc.js'
import { inTurns, quantile } from '../lib/stats.js'
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
  /** Into how many a row's round is cut, in turn with those of the other rows, so that one noise is not one row's alone. */
  slices: number
  options: Options
  /** Calls of each row before its first round; fewer before the others, which need only their new connections warm. */
  warmup: number
  /** One slice, over the connections that are open to that port. */
  measure: (port: number) => Promise<Outcome>
  progress: (line: string) => void
}

/** What a row is measured by in one round; CPU in µs. */
interface Share { target: Target, row: Row, name: string, outcomes: Outcome[], cpu: number | undefined }

export async function runRounds (plan: Plan): Promise<Row[]> {
  const rows = rowsFor(plan.targets, plan.kinds)
  for (let round = 0; round < plan.rounds; round++) {
    for (const kind of plan.kinds) await runRound(plan, round, kind, rows)
  }
  return rows
}

async function runRound (plan: Plan, round: number, kind: AnswerKind, rows: Row[]): Promise<void> {
  const { title, load, rounds, slices, options, progress } = plan
  const shares = inTurns(plan.targets, round).map((target): Share => ({
    target, row: find(rows, target.name, kind)!, name: `${title} ${kind}, round ${round + 1}/${rounds}, ${target.name}`, outcomes: [], cpu: 0,
  }))
  const each = async (some: Share[], step: (share: Share) => Promise<void>): Promise<void> => {
    for (const share of some) if (share.row.failed === undefined) await orFail(share, step, progress)
  }
  const warmup = round === 0 ? plan.warmup : options.connections * 10
  await each(shares, async ({ target: { port, headers } }) => {
    await load.open({ port, path: PATHS[kind], headers, answer: kind }, options.connections, warmup)
  })
  for (let slice = 0; slice < slices; slice++) await each(inTurns(shares, slice), async (share) => await runSlice(share, plan))
  await each(shares, async (share) => {
    const figures = figuresOf(share)
    share.row.rounds.push(figures)
    progress(`${share.name}: ${figures.callsPerSecond.toFixed(0)} calls/s, p50 ${figures.p50.toFixed(2)} ms` +
      (figures.cpu === undefined ? '' : `, ${figures.cpu.toFixed(0)} µs CPU per call`))
  })
  for (const { target } of shares) await load.close(target.port)
}

/** A row that fails is not measured any more; the others are. */
async function orFail (share: Share, step: (share: Share) => Promise<void>, progress: Plan['progress']): Promise<void> {
  try {
    await step(share)
  } catch (error) {
    share.row.failed = (error as Error).message
    progress(`${share.name}: FAILED: ${share.row.failed}`)
  }
}

async function runSlice (share: Share, { measure }: Plan): Promise<void> {
  const { port, child } = share.target
  const before = child?.pid && cpuTime(child.pid)
  const outcome = await measure(port)
  const after = child?.pid && cpuTime(child.pid)
  const { calls, failures, reasons } = outcome
  if (failures > 0) throw new Error(`${failures} of ${calls} calls failed: ${reasons.join('; ')}`)
  share.cpu = share.cpu === undefined || before === undefined || after === undefined ? undefined : share.cpu + after - before
  share.outcomes.push(outcome)
}

function figuresOf ({ target: { child }, outcomes, cpu }: Share): Figures {
  const sum = (figure: (outcome: Outcome) => number): number => outcomes.reduce((total, outcome) => total + figure(outcome), 0)
  const calls = sum((outcome) => outcome.calls)
  const latencies = outcomes.flatMap((outcome) => [...outcome.latencies])
  const late = outcomes.flatMap((outcome) => [...outcome.late ?? []])
  const size = child?.pid ? memory(child.pid) : undefined
  return {
    callsPerSecond: calls / sum((outcome) => outcome.seconds),
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    cpu: cpu === undefined ? undefined : cpu / calls,
    rss: size?.rss,
    peak: size?.peak,
    ...(late.length > 0 && { late50: quantile(late, 0.5), late99: quantile(late, 0.99) }),
  }
}
