import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/** A process, as others on the same machine can look for it. */
export interface Owner {
  /** Where its number means something: this boot of this machine and, on Linux, this PID namespace, as containers have their own. */
  readonly place: string
  readonly pid: number
  /** When it started, in the system's own measure; a number that was given to another process is told by it. */
  readonly started?: string
}

export function thisProcess (): Owner {
  const started = statusOf(process.pid)?.started
  return { place: placeHere(), pid: process.pid, ...(started === undefined ? {} : { started }) }
}

/**
 * Whether it is certain that a process has ended. False where that cannot be told, as for one in another container, for
 * one that is stopped, and for one whose number somebody else has by now on a system without /proc.
 */
export function isGone (owner: Owner): boolean {
  if (owner.place !== placeHere()) return false
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
  const status = statusOf(owner.pid)
  if (status === undefined || owner.started === undefined) return false
  // Z: it has ended and its parent has not asked for the outcome yet.
  return status.started !== owner.started || status.state === 'Z'
}

function placeHere (): string {
  try {
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

/** proc(5), /proc/pid/stat: the fields follow the name, which is in brackets and may hold anything, brackets included. */
function statusOf (pid: number): { state: string | undefined, started: string | undefined } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], started: fields[19] }
  } catch {
    return undefined
  }
}
