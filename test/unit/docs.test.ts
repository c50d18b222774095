import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { CONTROL_ERRORS } from '../../src/control.js'
import { ERRORS } from '../../src/errors.js'
import { CATALOGUE } from '../../src/telemetry/catalogue.js'
import { CHECKLIST } from '../helpers/checklist.js'
import { alertRules, dashboard, panelsOf, sourcesOf } from '../helpers/watching.js'

/**
 * Pages that say what the code says are made from it. `UPDATE_DOCS=1 npx tap test/unit/docs.test.ts` writes them anew.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))

function page (name: string, body: string): void {
  t.test(`docs/${name} is current`, async (t) => {
    const path = join(root, 'docs', name)
    if (process.env.UPDATE_DOCS === '1') writeFileSync(path, body)
    const there = existsSync(path) ? readFileSync(path, 'utf8') : ''
    t.equal(there, body, 'write it anew with UPDATE_DOCS=1 npx tap test/unit/docs.test.ts')
  })
}

function table (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

const errorRows = Object.entries(ERRORS).map(([code, { status, rpc, message }]) => [`\`${code}\``, String(status), String(rpc), message])
const controlRows = Object.entries(CONTROL_ERRORS).map(([code, { status, message }]) => [`\`${code}\``, String(status), message])
page('errors.md', `# Error codes

What mcp-valet answers by itself is a JSON-RPC error that echoes the request's \`id\`:

\`\`\`json
{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"…","data":{"code":"ERR_SESSION_UNKNOWN","request_id":"…"}}}
\`\`\`

Branch on \`data.code\`: a code that has been released keeps its meaning. The log tells the reason under the same \`request_id\`.
A 401 carries \`WWW-Authenticate: Bearer realm="mcp-valet", error="invalid_token"\` and never \`resource_metadata\`; a 503 carries
\`Retry-After\`. Any other answer is the MCP server's own.

${table(['`data.code`', 'HTTP', 'JSON-RPC', 'what it says'], errorRows)}
## Of the admin API

Under \`/v1\`, and as \`ControlError\` in the library: \`{"error":{"code":"…","message":"…","details":[…],"request_id":"…"}}\`, see
[admin-api.md](admin-api.md).

${table(['`error.code`', 'HTTP', 'what it says'], controlRows)}`)

/** What a label may say, where that is a list. */
const LABELS: Record<string, string> = {
  upstream: 'the name of an upstream in the config',
  method: 'of HTTP',
  rpc_method: 'a method that MCP knows, `batch`, `response`, `none` where there is no body, or `other`',
  status: 'of HTTP, `0` where the agent left first, `other` where it is not registered',
  outcome: 'of a call: `ok`, `replayed`, `error`, `aborted`, `broken`; of a refresh: `ok`, `unchanged`, `adopted`, `unavailable`, `revoked`; of a replay: `mended`, `refused`, `failed`; of a reload: `ok`, `refused`',
  refreshed: '`true` where the call waited for a refresh, else `false`',
  type: 'of the credential, as in the config',
  trigger: '`ahead` of the expiry, `expired`, `rejected` by the upstream, `manual`',
  reason: 'of a denial: an error code, or `tool`; of a call without a credential: `no_principal`, `refresh_failed`',
  code: 'an error code of [errors.md](errors.md)',
  state: '`valid`, `expiring`, `expired`, `failed`, `revoked`',
  cause: '`config`, `secrets`',
  version: 'of mcp-valet',
  node: 'the version of Node.js',
}
const readers = (name: string, rules: ReadonlyArray<{ title: string, exprs: readonly string[] }>): string[] => rules.filter(({ exprs }) => exprs.some((expr) => sourcesOf(expr).includes(name))).map(({ title }) => title)
const alerts = alertRules().map(({ alert, expr }) => ({ title: `[${alert}](operate.md#${alert.toLowerCase()})`, exprs: [expr] }))
const panels = panelsOf(dashboard()).map(({ title, targets = [] }) => ({ title, exprs: targets.map(({ expr }) => expr) }))
const metricRows = Object.entries(CATALOGUE).map(([name, { type, labels, help }]) =>
  [`\`mcp_valet_${name}\``, type, labels.map((label) => `\`${label}\``).join(', '), help, readers(name, alerts).join('<br>'), readers(name, panels).join('<br>')])
page('metrics.md', `# Metrics

\`GET /metrics\` on the admin listener, in Prometheus' text format, without a credential. No label ever holds a principal, an agent, a key, a
session, a tool or a URL, so the number of series depends on the config alone. [operate.md](operate.md) says what to watch, and how.

${table(['metric', 'type', 'labels', 'what it is', 'read by the alerts', 'shown by the panels'], metricRows)}
## Labels

${table(['label', 'says'], Object.entries(LABELS).map(([label, says]) => [`\`${label}\``, says]))}
A histogram has its buckets as \`…_bucket\` with \`le\`, and \`…_sum\` and \`…_count\`. One bucket of \`overhead_seconds\` ends at 0.1, the promise.
`)

t.test('docs/metrics.md explains every label', async (t) => {
  t.same(Object.keys(LABELS).sort(), [...new Set<string>(Object.values(CATALOGUE).flatMap(({ labels }) => [...labels]))].sort())
})

/** Which files have a test whose name begins with `row N:`, or names several rows. */
function filesOf (row: number): string[] {
  const found: string[] = []
  for (const folder of ['unit', 'integration', 'security', 'interop']) {
    for (const name of readdirSync(join(root, 'test', folder), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!name.endsWith('.test.ts')) continue
      const names = readFileSync(join(root, 'test', folder, name), 'utf8').matchAll(/['"`]rows? ([\d, and]+?)[:)]/g)
      const rows = [...names].flatMap((match) => [...(match[1] as string).matchAll(/\d+/g)].map(Number))
      if (rows.includes(row)) found.push(`${folder}/${name.replaceAll('\\', '/')}`)
    }
  }
  return found
}

const rows = Object.entries(CHECKLIST).map(([row, what]) => {
  const files = filesOf(Number(row))
  return [row, what, files.length === 0 ? 'not yet' : files.map((file) => `[${file}](../test/${file})`).join('<br>')]
})
page('checklist.md', `# What it survives

Each row is shown by tests over real sockets whose names begin with \`row N:\`; a row without one is not promised yet.

${table(['row', 'what happens', 'shown by'], rows)}`)
