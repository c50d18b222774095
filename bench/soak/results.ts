import type { Disturbances } from './disturb.js'
import type { Visits } from './agents/visitor.js'
import type { LogFindings } from './log.js'
import type { Third } from './thirds.js'
import type { Overhead, Sample } from './watch.js'

/** All that a run has found, fit for JSON. */
export interface Results {
  readonly date: string
  readonly node: string
  readonly seconds: number
  /** Why it ended before its time. */
  readonly early: string | undefined
  readonly ledger: {
    readonly calls: number
    readonly injected: Readonly<Record<string, number>>
    readonly injectedTotal: number
    readonly ours: Readonly<Record<string, number>>
    readonly oursTotal: number
    readonly authentication: { readonly injected: number, readonly ours: number }
    readonly made: Readonly<Record<string, number>>
    readonly examples: readonly string[]
  }
  readonly refreshes: Readonly<Record<string, number>>
  readonly replays: Readonly<Record<string, number>>
  readonly overhead: Overhead | undefined
  readonly visits: Visits
  readonly counted: { readonly counted: number, readonly resumed: number }
  readonly disturbances: Disturbances
  readonly silent: { readonly seconds: number, readonly heardAfter: number | undefined }
  readonly log: LogFindings
  readonly start: Sample
  readonly samples: readonly Sample[]
  readonly rest: Sample | undefined
  readonly thirds: readonly [Third, Third, Third] | undefined
  readonly exitCode: number | null
}
