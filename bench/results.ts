/** Everything that a run found out: what goes into the JSON file, and what the tables and the bars are made of. */
import { spawnSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem, type } from 'node:os'
import { cpuSource, type CpuSource } from './lib/proc.js'
import type { Options } from './options.js'
import type { OverheadPart } from './scenarios/overhead.js'
import type { Row } from './scenarios/row.js'
import type { Storms } from './scenarios/storm.js'
import type { Missing } from './targets/target.js'

export interface Results {
  date: string
  machine: Machine
  options: Options
  missing: Missing[]
  throughput: Row[]
  latency: Row[]
  storm?: Storms
  overhead?: Overhead
  log?: { lines: number, warnings: number }
}

export interface Overhead {
  total: OverheadPart
  parts: OverheadPart[]
  /** Calls that the load sent through mcp-valet: a histogram of fewer would not tell the whole. */
  sent: number
}

export interface Machine {
  node: string
  os: string
  cpu: string
  cores: number
  memoryMiB: number
  /** One minute's load average when the run began. */
  load: number
  commit: string | undefined
  cpuSource: CpuSource
}

export function machine (): Machine {
  const git = spawnSync('git', ['--no-optional-locks', 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8', timeout: 5000 })
  return {
    node: process.version,
    os: `${type()} ${release()}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    load: loadavg()[0]!,
    commit: git.status === 0 ? git.stdout.trim() : undefined,
    cpuSource,
  }
}
