import type { Outcome } from './cell.js'
import type { McpServer } from './servers.js'
import type { Valet } from './valet.js'

/** What holds for the whole run, or what does not: of metrics, log and identities. */
export interface Overall { readonly facts: readonly string[], readonly failures: readonly string[] }

/** Judges, when all cells have ended, what the sidecar says of them, and that nobody was taken for somebody else. */
export async function judgeAll (outcomes: readonly Outcome[], servers: readonly McpServer[], valet: Valet): Promise<Overall> {
  const [facts, failures]: [string[], string[]] = [[], []]
  const series = parseSeries(await valet.metrics())
  const total = (name: string, fits: (labels: Readonly<Record<string, string>>) => boolean): number =>
    series.filter((one) => one.name === `mcp_valet_${name}` && fits(one.labels)).reduce((sum, { value }) => sum + value, 0)

  for (const { id, name, issuer } of servers) {
    const refreshes = total('token_refresh_total', ({ upstream, outcome }) => upstream === id && outcome === 'ok')
    const unable = total('token_refresh_total', ({ upstream, outcome }) => upstream === id && outcome !== 'ok')
    const mended = total('replays_total', ({ upstream, outcome }) => upstream === id && outcome === 'mended')
    const hopeless = total('replays_total', ({ upstream, outcome }) => upstream === id && outcome !== 'mended')
    const calls = total('requests_total', ({ upstream, rpc_method: method }) => upstream === id && method === 'tools/call')
    const failed = total('requests_total', ({ upstream, status, outcome }) => upstream === id && (outcome === 'broken' || Number(status) >= 500 || status === '401' || status === '403'))
    facts.push(`${name}: ${calls} tool calls, ${failed} failed; ${refreshes} refreshes, ${mended} calls replayed`)
    if (failed > 0 || unable > 0 || hopeless > 0) failures.push(`${name}: ${failed} calls failed, ${unable} refreshes, ${hopeless} replays`)
    if (refreshes < 4 || mended < 1) failures.push(`${name}: ${refreshes} refreshes and ${mended} replays are too few to have shown anything`)
    if (issuer.families.revoked > 0) failures.push(`${name}: a refresh token was used twice`)
  }

  const expected = outcomes.filter(({ cell }) => cell.client.unlisted).length
  const denied = total('denied_total', ({ reason }) => reason === 'tool')
  if (denied !== expected) failures.push(`${denied} calls of denied tools were refused, of ${expected}`)
  for (const complaint of valet.complaints()) {
    if (complaint.event !== 'denied' || complaint.reason !== 'tool') failures.push(`the log complains: ${JSON.stringify(complaint)}`)
  }
  judgeIdentities(outcomes, servers, facts, failures)
  return { facts, failures }
}

function judgeIdentities (outcomes: readonly Outcome[], servers: readonly McpServer[], facts: string[], failures: string[]): void {
  for (const { id, name } of servers) {
    const there = outcomes.filter(({ cell, shown }) => cell.server.id === id && shown !== undefined)
    const of = (principal: string) => there.filter(({ cell }) => cell.principal === principal)
    const [alices, bobs] = [of('alice'), of('bob')]
    const shared = alices.flatMap(({ shown }) => shown?.tokens ?? []).filter((token) => bobs.some(({ shown }) => shown?.tokens.includes(token)))
    if (shared.length > 0) failures.push(`${name}: calls of alice and of bob carried the same token ${shared.join(' ')}`)
    const pairs = alices.flatMap((a) => bobs.filter((b) => Math.min(a.shown?.to ?? 0, b.shown?.to ?? 0) - Math.max(a.shown?.from ?? 0, b.shown?.from ?? 0) > 5000)).length
    facts.push(`${name}: ${pairs} pairs of clients of two principals at once, each taken for its own`)
    if (pairs === 0 && alices.length > 0 && bobs.length > 0) failures.push(`${name}: no two principals called at once`)
  }
}

interface Series { readonly name: string, readonly labels: Readonly<Record<string, string>>, readonly value: number }

/** Prometheus' text format, as far as the sidecar uses it. */
export function parseSeries (text: string): Series[] {
  return text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (name === undefined) return []
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, value]) => [key as string, value as string] as const)
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }]
  })
}
