import { JUDGED_FROM } from './options.js'
import type { Results } from './results.js'

export interface Bound { readonly what: string, readonly figure: string, readonly verdict: 'PASS' | 'FAILED' | 'not judged' }

const MEMORY = 1.05
const DESCRIPTORS = 1.05
/** Descriptors that may come and go without a leak: the sidecar's own connections are as many as agents happen to call. */
const FEW = 5
const AUTHENTICATION = 0.01

/** What a run has to hold. */
export function bounds (results: Results): Bound[] {
  const { ledger, thirds, silent, log, rest, seconds } = results
  const long = seconds >= JUDGED_FROM * 60
  const rate = ledger.calls === 0 ? 1 : (ledger.authentication.injected + ledger.authentication.ours) / ledger.calls
  const judged = (what: string, good: boolean, figure: string): Bound => ({ what, figure, verdict: good ? 'PASS' : 'FAILED' })
  const later = (what: string, good: boolean, figure: string): Bound => long ? judged(what, good, figure) : { what, figure, verdict: 'not judged' }
  const [, middle, last] = thirds ?? []
  const growth = middle === undefined || last === undefined ? Number.NaN : last.anon / middle.anon
  return [
    judged('failures other than those that were made: 0', ledger.oursTotal === 0 && ledger.calls > 0, `${ledger.oursTotal} of ${ledger.calls} calls`),
    judged('calls that failed for authentication, made to fail or not: <1 %', rate < AUTHENTICATION, `${(rate * 100).toFixed(3)} %`),
    judged('the silent stream lives, and what is said on it is heard', silent.heardAfter !== undefined, silent.heardAfter === undefined ? `not heard after ${time(silent.seconds)}` : `heard in ${silent.heardAfter.toFixed(0)} ms after ${time(silent.seconds)}`),
    judged('no fault of its own, and no secret, in the log', Object.keys(log.faults).length === 0 && log.secrets === 0 && log.strange === undefined, `${Object.keys(log.faults).length} and ${log.secrets} in ${log.lines} lines`),
    judged('it ran to the end, and ended with 0 when told to', results.exitCode === 0, `exit code ${results.exitCode ?? 'none'}`),
    later(`memory (RssAnon) of the last third ≤${MEMORY} × the middle one's`, growth <= MEMORY, `${growth.toFixed(3)} ×`),
    later(`descriptors of the last third ≤${DESCRIPTORS} × the middle one's + ${FEW}`, (last?.descriptors ?? NaN) <= (middle?.descriptors ?? NaN) * DESCRIPTORS + FEW, `${middle?.descriptors ?? '?'} → ${last?.descriptors ?? '?'}`),
    later(`descriptors at the end, with everybody gone, ≤ those at the start + ${FEW}`, (rest?.descriptors ?? NaN) <= results.start.descriptors + FEW, `${results.start.descriptors} → ${rest?.descriptors ?? '?'}`),
    later('no stream is still counted as open then', rest?.streams === 0, String(rest?.streams ?? '?')),
  ]
}

export function time (seconds: number): string {
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
}
