import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { CATALOGUE } from '../../src/telemetry/catalogue.js'
import { promtool, skip } from '../helpers/prometheus.js'
import { alertRules, dashboard, metricsIn, panelsOf, root, RULE_TESTS, RULES, rulesOf, sourcesOf, strangers } from '../helpers/watching.js'

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' } // eslint-disable-line no-template-curly-in-string

t.test('O2: every alert says what is the matter, what to do next, how bad it is, and where to read on', async (t) => {
  const page = readFileSync(join(root, 'docs/operate.md'), 'utf8')
  const headings = new Set([...page.matchAll(/^### (\w+)$/gm)].map(([, name]) => name))
  const alerts = alertRules()
  t.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length)
  for (const { alert, labels, annotations } of alerts) {
    t.match(alert, /^McpValet[A-Z]\w+$/)
    t.match(labels?.severity, /^(?:critical|warning)$/, alert)
    t.match(annotations?.summary, /^.{20,160}$/, alert)
    t.match(annotations?.description, /^.{100,}\.$/s, alert)
    t.equal(annotations?.runbook, `docs/operate.md#${alert.toLowerCase()}`)
    t.ok(headings.has(alert), `docs/operate.md has a paragraph on ${alert}`)
  }
  t.same([...headings].filter((name) => name?.startsWith('McpValet')).sort(), alerts.map(({ alert }) => alert).sort(), 'and on no other')
})

t.test('O2: alerts, recorded rules and panels read only what is measured', async (t) => {
  for (const { alert, record, expr } of [...rulesOf('recording'), ...alertRules()]) t.same(strangers(expr), [], alert ?? String(record))
  for (const { title, targets } of panelsOf(dashboard())) for (const { expr } of targets ?? []) t.same(strangers(expr), [], title)
  const read = new Set([...alertRules(), ...rulesOf('recording')].flatMap(({ expr }) => metricsIn(expr)))
  for (const { record } of rulesOf('recording')) {
    const alone = record === 'job:mcp_valet_authentication_failures:ratio5m'
    t.ok(alone || read.has(record as string), `${record} is read, or is the number that the promise is about`)
  }
  t.same(strangers('sum by (made, upstream) (mcp_valet_streams{tool="x"}) + mcp_valet_nothing'), ['no metric mcp_valet_nothing', 'mcp_valet_streams has no label tool', 'nothing there has a label made'])
})

t.test('O2: every alert has a fault in the tests of the rules that it must tell', async (t) => {
  const { tests } = parse(readFileSync(RULE_TESTS, 'utf8')) as { tests: Array<{ name: string, promql_expr_test: Array<{ expr: string, exp_samples: Array<{ labels: string }> }> }> }
  const told = new Set(tests.flatMap(({ promql_expr_test: asked }) => asked.flatMap(({ exp_samples: samples }) => samples.flatMap(({ labels }) => /alertname="(\w+)"/.exec(labels)?.[1] ?? []))))
  t.same([...told].sort(), alertRules().map(({ alert }) => alert).sort())
})

t.test('O2: promtool: the rules are right, and tell each fault and nothing in normal operation', { skip }, async (t) => {
  const files = ['recording.yml', 'alerts.yml'].map((name) => join(RULES, name))
  const checked = promtool(['check', 'rules', ...files])
  t.equal(checked.code, 0, checked.output)
  t.notMatch(checked.output, /duplicate/i)
  const tested = promtool(['test', 'rules', RULE_TESTS])
  t.equal(tested.code, 0, tested.output)
})

t.test('O2: promtool: what docs/operate.md tells to put into the config of Prometheus is right, with these rules', { skip }, async (t) => {
  const [, yaml = ''] = /^ *```yaml\n(.*?)^ *```$/ms.exec(readFileSync(join(root, 'docs/operate.md'), 'utf8')) ?? []
  t.equal((parse(yaml) as { scrape_configs: [{ job_name: string }] }).scrape_configs[0].job_name, 'mcp-valet')
  const folder = t.testdir({ 'prometheus.yml': yaml.replace('/etc/prometheus/rules', RULES) })
  const { code, output } = promtool(['check', 'config', join(folder, 'prometheus.yml')])
  t.equal(code, 0, output)
  t.match(output, /SUCCESS: \d+ rules found/)
})

t.test('O2: the dashboard can be imported anywhere: its data source is a variable, and it has no id of its own', async (t) => {
  const board = dashboard()
  t.match(board, { id: null, uid: 'mcp-valet', title: 'mcp-valet' })
  t.ok(board.schemaVersion >= 36, 'data sources are objects')
  const [source, ...variables] = board.templating.list
  t.match(source, { name: 'datasource', type: 'datasource', query: 'prometheus' })
  t.same(variables.map(({ name }) => name), ['job', 'instance', 'upstream'])
  for (const { name, datasource, query } of variables) {
    t.same(datasource, DATASOURCE, name)
    t.same(strangers(typeof query === 'string' ? query : query.query), [], name)
  }
})

t.test('O2: every panel says what it shows, in which unit, and from where', async (t) => {
  const board = dashboard()
  const panels = panelsOf(board)
  t.equal(new Set(board.panels.map(({ id }) => id)).size, board.panels.length)
  t.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
  for (const { title, description, datasource, fieldConfig, targets } of panels) {
    t.match(title, /^[A-Z].{2,60}$/)
    t.match(description, /^.{15,}\.$/s, title)
    t.same(datasource, DATASOURCE, title)
    t.match(fieldConfig?.defaults.unit, /^(?:s|percentunit|reqps|short|none)$/, title)
    t.ok((targets ?? []).length > 0, title)
    t.equal(new Set(targets?.map(({ refId }) => refId)).size, targets?.length, title)
    for (const { datasource } of targets ?? []) t.same(datasource, DATASOURCE, title)
  }
  const limits = Object.fromEntries(panels.map(({ title, fieldConfig: { defaults } = { defaults: {} } }) => [title, defaults.custom?.thresholdsStyle?.mode === 'dashed' ? defaults.thresholds?.steps.at(-1)?.value : undefined]))
  t.match(limits, { 'Overhead against the 100 ms line': 0.1, 'Overhead as a share of the time, against 10 %': 0.1, 'Authentication failure rate against 1 %': 0.01 }, 'the promises are drawn')
})

t.test('O2: no two panels lie on one another', async (t) => {
  const taken = new Set<string>()
  for (const { title, gridPos: { x, y, w, h } } of dashboard().panels) {
    const cells = Array.from({ length: w * h }, (_, i) => `${x + i % w} ${y + Math.floor(i / w)}`)
    t.ok(x >= 0 && x + w <= 24 && cells.every((cell) => !taken.has(cell)), title)
    for (const cell of cells) taken.add(cell)
  }
})

t.test('O2: every metric is on the dashboard', async (t) => {
  const shown = new Set(panelsOf(dashboard()).flatMap(({ targets }) => targets ?? []).flatMap(({ expr }) => sourcesOf(expr)))
  for (const name of Object.keys(CATALOGUE)) t.ok(shown.has(name), name)
})
