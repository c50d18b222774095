import { readAgentName } from '../config/names.js'
import { readToolPattern } from '../config/values.js'
import type { Detail, Sessions } from '../control.js'

/** Milliseconds: a thousand years, far from what a date cannot hold. */
const LONGEST_TTL = 1000 * 365 * 24 * 3_600_000
const MOST_GLOBS = 1_000

/** What is wrong with a session that is asked for, all of it. */
export function findings ({ agent, ttlMs, tools }: Parameters<Sessions['create']>[0]): Detail[] {
  const details: Detail[] = []
  try {
    readAgentName(agent)
  } catch (error) {
    details.push({ path: 'agent', message: (error as Error).message })
  }
  // With NaN it would never be over, and no date could show it.
  if (ttlMs !== undefined && !(ttlMs > 0 && ttlMs <= LONGEST_TTL)) details.push({ path: 'ttl', message: 'is longer than 0 and at most a thousand years' })
  for (const list of ['allow', 'deny'] as const) {
    const globs = tools?.[list] ?? []
    if (globs.length > MOST_GLOBS || !globs.every(isPattern)) details.push({ path: `tools.${list}`, message: `is a list of at most ${MOST_GLOBS} names or globs, each of 1 to 256 characters` })
  }
  return details
}

function isPattern (text: string): boolean {
  try {
    readToolPattern(text)
    return true
  } catch {
    return false
  }
}
