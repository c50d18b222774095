import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { CATALOGUE } from '../../src/telemetry/catalogue.js'

export const root = fileURLToPath(new URL('../../', import.meta.url))
export const RULES = join(root, 'config/prometheus/rules')
export const RULE_TESTS = join(root, 'config/prometheus/tests/alerts.yml')

export interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly for?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export interface AlertRule extends Rule { readonly alert: string }

export interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: { readonly type: string, readonly uid: string }
  readonly gridPos: { readonly x: number, readonly y: number, readonly w: number, readonly h: number }
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string, readonly thresholds?: { readonly steps: ReadonlyArray<{ readonly value: number | null }> }, readonly custom?: { readonly thresholdsStyle?: { readonly mode: string } } } }
  readonly targets?: ReadonlyArray<{ readonly refId: string, readonly expr: string, readonly legendFormat: string, readonly datasource: { readonly type: string, readonly uid: string } }>
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly id: null
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: ReadonlyArray<{ readonly name: string, readonly type: string, readonly query: string | { readonly query: string }, readonly datasource?: { readonly uid: string } }> }
}

/** The text of `recording` or `alerts`. */
export function rulesText (name: 'recording' | 'alerts'): string {
  return readFileSync(join(RULES, `${name}.yml`), 'utf8')
}

export function rulesOf (name: 'recording' | 'alerts'): Rule[] {
  return (parse(rulesText(name)) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap(({ rules }) => rules)
}

export function alertRules (): AlertRule[] {
  return rulesOf('alerts') as AlertRule[]
}

export function dashboard (): Dashboard {
  return JSON.parse(readFileSync(join(root, 'config/grafana/mcp-valet.json'), 'utf8')) as Dashboard
}

/** Panels that show something, without the rows between them. */
export function panelsOf ({ panels }: Dashboard): Panel[] {
  return panels.filter(({ type }) => type !== 'row')
}

/** The names of metrics, recorded ones included, that an expression reads. */
export function metricsIn (expr: string): string[] {
  const bare = expr.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
  return [...new Set([...bare.matchAll(/\b(?:[a-z_]+:)?mcp_valet_\w+(?::\w+)?|\bup\b/g)].map(([name]) => name))]
}

/** The same with recorded ones replaced by what these read, and without the suffixes of histograms: names of the catalogue. */
export function sourcesOf (expr: string): string[] {
  const recorded = new Map(rulesOf('recording').map(({ record, expr }) => [record, expr]))
  return [...new Set(metricsIn(expr).flatMap((name) => {
    const behind = recorded.get(name)
    return behind === undefined ? [familyOf(name)] : sourcesOf(behind)
  }))]
}

/** What is wrong with the metrics and labels that an expression names; nothing where the catalogue has them all. */
export function strangers (expr: string): string[] {
  const recorded = new Set(rulesOf('recording').map(({ record }) => record))
  const found = metricsIn(expr).filter((name) => name !== 'up' && !recorded.has(name) && !(familyOf(name) in CATALOGUE)).map((name) => `no metric ${name}`)
  for (const [, name = '', matchers = ''] of expr.matchAll(/\b(mcp_valet_\w+)\{([^}]*)\}/g)) {
    const labels = labelsOf(familyOf(name))
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) if (!labels.has(label)) found.push(`${name} has no label ${label}`)
  }
  const all = new Set(sourcesOf(expr).flatMap((family) => [...labelsOf(family)]))
  for (const [, list = ''] of expr.matchAll(/\b(?:by|on|group_left)\s*\(([^)]*)\)/g)) {
    for (const label of list.split(',').map((word) => word.trim())) if (label !== '' && !all.has(label)) found.push(`nothing there has a label ${label}`)
  }
  return found
}

function familyOf (name: string): string {
  const bare = name.replace(/^mcp_valet_/, '')
  const histogram = bare.replace(/_(?:bucket|sum|count)$/, '')
  return histogram in CATALOGUE && CATALOGUE[histogram as keyof typeof CATALOGUE].type === 'histogram' ? histogram : bare
}

/** With those that Prometheus adds. */
function labelsOf (family: string): Set<string> {
  const own = family in CATALOGUE ? CATALOGUE[family as keyof typeof CATALOGUE] : { type: 'gauge', labels: [] }
  return new Set([...own.labels, 'job', 'instance', ...(own.type === 'histogram' ? ['le'] : [])])
}
