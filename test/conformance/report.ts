import { differences, failsDirectly, shortfalls, tally, type Result } from './compare.js'
import { LIFETIME } from './stage.js'
import type { Counts } from './valet.js'

/** What a run found beside the results. */
export interface Found extends Counts {
  /** What of the tool policy was not as it should be. */
  readonly policy: readonly string[]
  /** All scenarios were run, not some. */
  readonly complete: boolean
}

/** Why a server on the official SDK, too, does not get all of a scenario. */
const KNOWN: Readonly<Record<string, string>> = {
  '0.1.16 server-sse-polling': 'this release calls with the version 2025-03-26, which has neither; the other one calls with the version that was agreed on',
}

/** Each reason for which the run has failed, as lines to print; none where it shows what it should. */
export function objections (results: readonly Result[], { policy, complete, refreshes, replays }: Found): string[] {
  const differing = results.flatMap((result) => differences(result).map(({ check, direct, through, why }) =>
    `${nameOf(result)}: ${check}: ${direct} directly, ${through} through mcp-valet${why === '' ? '' : `: ${why}`}`))
  const failing = results.filter(failsDirectly).map((result) => `${nameOf(result)}: the server fails directly: ${shortfalls(result.direct).map(worded).join('; ') || 'no check at all'}`)
  const idle = complete && (refreshes === 0 || replays === 0) ? [`nothing was shown: ${refreshes} refreshes and ${replays} replays`] : []
  return [...differing, ...failing, ...policy, ...idle]
}

export function nameOf ({ spec, release, scenario }: Pick<Result, 'spec' | 'release' | 'scenario'>): string {
  return `${spec} ${release} ${scenario}`
}

/** The part of docs/compatibility.md: a table for each version of the specification, a row for each scenario. */
export function markdown (results: readonly Result[], { refreshes, replays }: Found): string {
  const specs = [...new Set(results.map(({ spec }) => spec))]
  const releases = [...new Set(results.map(({ release }) => release))]
  return `\
The suite, \`@modelcontextprotocol/conformance\` ${releases.join(' and ')}, calls one MCP server on the official SDK twice, scenario by
scenario. That server has everything that the scenarios ask for by name, verifies each token (signature, issuer, audience, expiry) and
answers 401 to one that has expired. Directly, each call has a new token; through mcp-valet it has a session key, a token lives ${LIFETIME} s,
and the server's clock is ahead, so that some die before they are refreshed. A tool policy denies one tool that no scenario asks for, so
every call is judged and every answer read. Shown are checks passed of those that judge anything; no check of any scenario has another
status on one side than on the other. In the run that made this table ${refreshes} tokens were refreshed and ${replays} calls replayed.

${specs.map((spec) => `### MCP ${spec}\n\n${table(results.filter((result) => result.spec === spec))}`).join('\n')}
${short(results)}${unsteady(results)}
The scenarios of extensions (\`tasks-*\`, \`sep-2640-skills-*\`) belong to neither version and are not run.
`
}

function table (results: readonly Result[]): string {
  const releases = [...new Set(results.map(({ release }) => release))]
  const scenarios = [...new Set(results.map(({ scenario }) => scenario))]
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  const head = ['scenario', ...releases.flatMap((release) => [`${release}: direct`, 'through mcp-valet'])]
  const rows = scenarios.map((scenario) => [`\`${scenario}\``, ...releases.flatMap((release) => {
    const result = results.find((candidate) => candidate.scenario === scenario && candidate.release === release)
    return result === undefined ? ['–', '–'] : [tally(result.direct), tally(result.through)]
  })])
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

/** What the server itself does not pass, where that is anything. */
function short (results: readonly Result[]): string {
  const lines = results.filter(({ direct }) => shortfalls(direct).length > 0).map((result) => {
    const why = KNOWN[`${result.release} ${result.scenario}`]
    return `- ${nameOf(result)}: ${shortfalls(result.direct).map(({ id, status }) => `\`${id}\` (${status})`).join(', ')}${why === undefined ? '' : `: ${why}`}`
  })
  return lines.length === 0 ? '' : `What the server itself does not pass, called directly:\n\n${lines.join('\n')}\n`
}

/** What was equal only when it was run again. */
function unsteady (results: readonly Result[]): string {
  const names = results.filter(({ again }) => again).map(nameOf)
  return names.length === 0 ? '' : `\nRun once more on both sides, as the first results were not equal: ${names.join(', ')}.\n`
}

function worded ({ id, errorMessage }: { id: string, errorMessage?: string }): string {
  return errorMessage === undefined ? id : `${id}: ${errorMessage}`
}
