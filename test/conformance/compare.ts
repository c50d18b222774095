/** A line of a scenario's result, as far as it is compared. */
export interface Check {
  readonly id: string
  readonly name?: string
  /** SUCCESS, FAILURE, WARNING, or SKIPPED and INFO, which judge nothing. */
  readonly status: string
  readonly errorMessage?: string
}

/** The result of one scenario, directly and through mcp-valet. */
export interface Result {
  readonly spec: string
  readonly release: string
  readonly scenario: string
  readonly direct: readonly Check[]
  readonly through: readonly Check[]
  /** The two differed, or the server failed directly, and it was run once more: this is the second result. */
  readonly again: boolean
}

export interface Difference { readonly check: string, readonly direct: string, readonly through: string, readonly why: string }

const NONE = 'not there'

/** The checks of which the status is not the same on both sides, those that only one side has included. */
export function differences ({ direct, through }: Pick<Result, 'direct' | 'through'>): Difference[] {
  const [left, right] = [keyed(direct), keyed(through)]
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((key) => left.get(key)?.status !== right.get(key)?.status)
    .map((key) => ({
      check: key,
      direct: left.get(key)?.status ?? NONE,
      through: right.get(key)?.status ?? NONE,
      why: right.get(key)?.errorMessage ?? left.get(key)?.errorMessage ?? '',
    }))
}

/** Of the checks that judge anything, those that passed: `3/4`. */
export function tally (checks: readonly Check[]): string {
  const judged = checks.filter(({ status }) => isJudged(status))
  return `${judged.filter(({ status }) => status === 'SUCCESS').length}/${judged.length}`
}

/** What of one side did not pass. */
export function shortfalls (checks: readonly Check[]): Check[] {
  return checks.filter(({ status }) => isJudged(status) && status !== 'SUCCESS')
}

/** A scenario whose server fails directly shows nothing about what is in between. */
export function failsDirectly ({ direct }: Pick<Result, 'direct'>): boolean {
  return direct.length === 0 || direct.some(({ status }) => status === 'FAILURE')
}

function isJudged (status: string): boolean {
  return status !== 'INFO' && status !== 'SKIPPED'
}

/** By id and name; a check that comes several times is told apart by its turn. */
function keyed (checks: readonly Check[]): Map<string, Check> {
  const found = new Map<string, Check>()
  for (const check of checks) {
    const name = check.name === undefined ? check.id : `${check.id} (${check.name})`
    let [key, turn] = [name, 1]
    while (found.has(key)) key = `${name} #${++turn}`
    found.set(key, check)
  }
  return found
}
