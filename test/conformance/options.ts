import { parseArgs } from 'node:util'

export interface Options {
  /** Scenarios and versions of the specification; all where none is named. */
  readonly only: readonly string[]
  readonly write: boolean
}

export const HELP = `npm run conformance -- [options]

Runs the official MCP conformance suite against one MCP server twice, scenario by scenario: directly, and through
mcp-valet, while the tokens of that server die after seconds. Prints what differs; nothing may.

  --only LIST    scenarios, versions of the specification or both, separated by commas
  --write        puts the results into docs/compatibility.md
  --help         this

Exits 1 where a check has another status through mcp-valet than directly, where one fails directly, which would show
nothing, or where no token was refreshed and no call replayed meanwhile. A scenario that differs is run once more on
both sides, and said to be unsteady if it no longer does.

The suite and the Node that it needs are fetched with npx, at exact versions, into npm's cache.
`

/** Throws an Error fit to be printed where argv makes no sense; undefined if help was asked for. */
export function readOptions (argv: string[]): Options | undefined {
  const { values } = parseArgs({
    args: argv,
    options: { only: { type: 'string' }, write: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
  })
  if (values.help) return undefined
  const only = (values.only ?? '').split(',').map((name) => name.trim()).filter(Boolean)
  if (values.write && only.length > 0) throw new Error('--write wants all scenarios: leave --only out')
  return { only, write: values.write }
}

/** Which of the scenarios that there are `--only` names. @throws where it names what there is not */
export function chosen<T extends { readonly spec: string, readonly scenario: string }> (all: readonly T[], only: readonly string[]): readonly T[] {
  const specs = only.filter((name) => all.some(({ spec }) => spec === name))
  const scenarios = only.filter((name) => all.some(({ scenario }) => scenario === name))
  const unknown = only.find((name) => !specs.includes(name) && !scenarios.includes(name))
  if (unknown !== undefined) throw new Error(`--only knows no scenario and no version "${unknown}"`)
  const fits = (names: string[], name: string): boolean => names.length === 0 || names.includes(name)
  const left = all.filter(({ spec, scenario }) => fits(specs, spec) && fits(scenarios, scenario))
  if (left.length === 0) throw new Error('no scenario is left: --only names none that is there for the versions it names')
  return left
}
