/**
 * CPU and memory of a process and its children, from Linux' /proc. Elsewhere there are no figures, and the rows say so.
 *
 * CPU is the sum over all threads of `/proc/PID/task/TID/schedstat`: time on a CPU in nanoseconds, kernel and user. A kernel
 * without it has `utime + stime` of `/proc/PID/stat`, in ticks of 10 ms, which is coarse for a short round.
 */
import { readdirSync, readFileSync } from 'node:fs'

export type CpuSource = 'schedstat' | 'stat' | 'none'

export const cpuSource: CpuSource = readable(`/proc/self/task/${process.pid}/schedstat`)
  ? 'schedstat'
  : readable('/proc/self/stat') ? 'stat' : 'none'

/** CPU time in µs that the process and its children have used so far. */
export function cpuTime (pid: number): number | undefined {
  if (cpuSource === 'none') return undefined
  return sum(family(pid), cpuSource === 'schedstat' ? onCpu : ticks)
}

export interface Memory { rss: number, peak: number }

/** Resident memory now and at its highest, in MiB. Pages that nginx' two processes share count twice. */
export function memory (pid: number): Memory | undefined {
  if (cpuSource === 'none') return undefined
  const pids = family(pid)
  return { rss: sum(pids, p => status(p, 'VmRSS')), peak: sum(pids, p => status(p, 'VmHWM')) }
}

/** `pid` and all that descend from it. */
function family (pid: number): number[] {
  const parents = list('/proc').filter(name => /^\d+$/.test(name)).map(name => [Number(name), parent(name)] as const)
  const found = [pid]
  for (const member of found) {
    for (const [child, of] of parents) if (of === member) found.push(child)
  }
  return found
}

function onCpu (pid: number): number {
  return sum(list(`/proc/${pid}/task`), task => Number(read(`/proc/${pid}/task/${task}/schedstat`).split(' ')[0])) / 1000
}

const USER_HZ = 100

function ticks (pid: number): number {
  const fields = afterName(pid)
  return (Number(fields[11]) + Number(fields[12])) * 1e6 / USER_HZ
}

function parent (pid: string): number {
  return Number(afterName(pid)[1])
}

/** The fields of /proc/PID/stat from the third one, `state`: the second, the name, may hold spaces. */
function afterName (pid: number | string): string[] {
  const stat = read(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function status (pid: number, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`))?.[1] ?? 0) / 1024
}

// A thread or a process may end between the listing and the reading, or be gone already: then it has nothing to say.
function list (folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function read (path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function readable (path: string): boolean {
  return read(path) !== ''
}

function sum<T> (items: T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + (of(item) || 0), 0)
}
