/** One line of a table: a target under one kind of load, and what each round said of it. */
import { median } from '../lib/stats.js'
import type { AnswerKind } from '../wire.js'
import type { Target, TargetName } from '../targets/target.js'

/** Times in ms, CPU in µs per call, memory in MiB. A figure is absent where there is no proxy, or no /proc. */
export interface Figures {
  callsPerSecond: number
  p50: number
  p99: number
  cpu: number | undefined
  rss: number | undefined
  peak: number | undefined
  /** Open loop only: how late the generator itself was, p50 and p99. */
  late50?: number
  late99?: number
}

export interface Row {
  target: TargetName
  version: string
  answer: AnswerKind
  /** By round; one that failed has no figures, and ends the row. */
  rounds: Figures[]
  failed?: string
}

export function rowsFor (targets: Target[], kinds: AnswerKind[]): Row[] {
  return kinds.flatMap(answer => targets.map(({ name, version }) => ({ target: name, version, answer, rounds: [] })))
}

export function find (rows: Row[], target: TargetName, answer: AnswerKind): Row | undefined {
  return rows.find(row => row.target === target && row.answer === answer)
}

/** The figure in each round. */
export function series (row: Row | undefined, figure: keyof Figures): (number | undefined)[] {
  return row?.rounds.map(round => round[figure]) ?? []
}

/** The figure's median over the rounds; undefined if it was not measured, or the row failed. */
export function middle (row: Row | undefined, figure: keyof Figures): number | undefined {
  const values = series(row, figure).filter(value => value !== undefined)
  return row?.failed !== undefined || values.length === 0 ? undefined : median(values)
}
