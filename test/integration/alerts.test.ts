import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startWard } from '../helpers/faults.js'
import { promtool, skip as noPrometheus, startPrometheus, until, type Alert, type Prometheus } from '../helpers/prometheus.js'
import { alertRules, dashboard, panelsOf, rulesText } from '../helpers/watching.js'

const canFill = process.env.MCP_VALET_TEST_PROMETHEUS === 'required' || spawnSync('prlimit', ['--version']).status === 0
const skip = noPrometheus === false && !canFill ? 'there is no prlimit(1) here, to fill a disk for one process' : noPrometheus

/** Windows of the rules are a thirtieth, waits a sixtieth as long here, and a stream counts for fifty. */
const WINDOWS = 30
const WAITS = 60

/** The rules as they are, but for the time that they take. */
function hastened (text: string): string {
  const shorter = (amount: string, unit: string, factor: number): string => `${Number(amount) * ({ s: 1_000, m: 60_000, h: 3_600_000 }[unit] as number) / factor}ms`
  return text
    .replaceAll(/(\[|offset )(\d+)([smh])\b/g, (_, before: string, amount: string, unit: string) => before + shorter(amount, unit, WINDOWS))
    .replaceAll(/^( *for: )(\d+)([smh])$/gm, (_, before: string, amount: string, unit: string) => before + shorter(amount, unit, WAITS))
    .replaceAll('* 300', `* ${300 / WINDOWS}`)
    .replaceAll('> 1000', '> 20')
}

/** Of which upstream, or reason, or instance each alert speaks when all is broken. */
const TOLD: Record<string, Record<string, string>> = {
  McpValetNotReady: { instance: 'stopping' },
  McpValetReloadRefused: { instance: 'suffering', cause: 'config' },
  McpValetInternalErrors: { instance: 'suffering' },
  McpValetStateFailing: { instance: 'mortal', upstream: 'tools' },
  McpValetManyStreams: { instance: 'stopping' },
  McpValetAuthenticationFailures: { upstream: 'abandoned' },
  McpValetCallersRefused: { reason: 'ERR_SESSION_UNKNOWN' },
  McpValetForeignCallers: { instance: 'healthy', reason: 'ERR_ORIGIN_REFUSED' },
  McpValetRefreshFailing: { upstream: 'abandoned' },
  McpValetCredentialExpiring: { upstream: 'abandoned' },
  McpValetCredentialUnusable: { upstream: 'abandoned' },
  McpValetCredentialRevoked: { upstream: 'revoked' },
  McpValetAnonymousFallback: { upstream: 'fallback' },
  McpValetUpstreamRefusesTokens: { upstream: 'refusing' },
  McpValetManyReplays: { upstream: 'churning' },
  McpValetUpstreamFailing: { upstream: 'gone' },
  McpValetOverheadHigh: { upstream: 'churning' },
  McpValetOverheadShareHigh: { upstream: 'churning' },
}
const LATER: Record<string, Record<string, string>> = { McpValetDown: { instance: 'mortal' }, McpValetAbsent: {} }
/** A machine with much else to do may be slow, also to be scraped, which is no matter of these faults. */
const OF_LOAD = /^McpValet(?:Overhead|Down$)/

function fits ({ labels, state }: Alert, name: string, expected: Record<string, string>): boolean {
  return state === 'firing' && labels.alertname === name && Object.entries(expected).every(([label, value]) => labels[label] === value)
}

/** Resolves with all alerts that ever fired, once those that are expected have; fails the test where one has not within 45 s. */
async function told (prometheus: Prometheus, expected: Record<string, Record<string, string>>): Promise<{ seen: Map<string, Alert>, missing: string[] }> {
  const seen = new Map<string, Alert>()
  let missing = Object.keys(expected)
  for (let tries = 0; missing.length > 0 && tries < 180; tries++) {
    for (const alert of await prometheus.alerts()) if (alert.state === 'firing') seen.set(JSON.stringify(alert.labels), alert)
    missing = missing.filter((name) => ![...seen.values()].some((alert) => fits(alert, name, expected[name] as Record<string, string>)))
    await sleep(250)
  }
  return { seen, missing }
}

t.test('O2: each alert is told when its fault happens to real sidecars, and none before; the dashboard shows it', { skip, timeout: 150_000 }, async (t) => {
  const rules = { recording: hastened(rulesText('recording')), alerts: hastened(rulesText('alerts')) }
  t.notMatch(Object.values(rules).join(), /\[\d+[mh]\]|for: \d+[mh]$/m, 'no time is left as it was')
  t.same([...Object.keys(TOLD), ...Object.keys(LATER)].sort(), alertRules().map(({ alert }) => alert).sort(), 'each alert has its fault')
  const ward = await startWard(t)
  const prometheus = await startPrometheus(t, rules, ward.targets)
  ward.callAll()

  await until(async () => (await prometheus.query('min(job_upstream:mcp_valet_calls:rate5m) > 0 and on () count(up == 1) == 4')).length > 0 || undefined)
  await sleep(4_000)
  const quiet = await prometheus.query('ALERTS{alertstate="firing"}')
  t.same(quiet.filter(({ metric }) => !OF_LOAD.test(metric.alertname as string)), [], 'in normal operation nothing is told')

  await ward.breakAll()
  const { seen, missing } = await told(prometheus, TOLD)
  t.same(missing, [], 'every fault has been told')
  for (const { labels, annotations } of seen.values()) {
    t.notMatch(Object.values(annotations).join(' '), /no value|error (?:executing|expanding|calling)|%!|\{\{/, labels.alertname as string)
    if (labels.upstream === 'healthy' && !OF_LOAD.test(labels.alertname as string)) t.fail(`${labels.alertname} is told of an upstream that is well`)
  }
  t.match([...seen.values()].find(({ labels }) => labels.alertname === 'McpValetUpstreamFailing')?.annotations.summary, /^\d+(?:\.\d+)?% of the calls of gone get no answer from it$/)

  await showsIt(t, prometheus)
  for (const [name, url] of Object.entries(ward.targets)) {
    const { code, output } = promtool(['check', 'metrics'], await (await fetch(`${url}/metrics`)).text())
    t.same([code, output.trim()], [0, ''], `promtool finds nothing to object to in the metrics of ${name}`)
  }

  await ward.correctConfig()
  await until(async () => !(await prometheus.alerts()).some(({ labels }) => labels.alertname === 'McpValetReloadRefused') || undefined)
  await ward.kill()
  t.same((await told(prometheus, { McpValetDown: { instance: 'mortal' } })).missing, [])
  prometheus.scrape({})
  t.same((await told(prometheus, { McpValetAbsent: {} })).missing, [])
})

async function showsIt (t: Test, prometheus: Prometheus): Promise<void> {
  const filled = (text: string): string => text.replaceAll('$__rate_interval', '10s').replaceAll('$job', 'mcp-valet').replaceAll(/\$(?:instance|upstream)\b/g, '.*')
  for (const { title, targets = [] } of panelsOf(dashboard())) {
    for (const { expr, legendFormat } of targets) {
      const series = await prometheus.query(filled(expr)).catch((error: Error) => error)
      if (series instanceof Error) {
        t.fail(`${title}: ${series.message}: ${expr}`)
        continue
      }
      t.ok(series.length > 0, `${title} shows something: ${expr}`)
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        for (const { metric } of series) t.ok(label in metric, `${title}: its legend has {{${label}}}`)
      }
    }
  }
  for (const { query } of dashboard().templating.list) {
    const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(typeof query === 'string' ? query : query.query) ?? []
    if (selector !== '') t.ok((await prometheus.query(filled(selector))).some(({ metric }) => label in metric), `there are values of ${label} to choose from`)
  }
}
