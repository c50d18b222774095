import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { CONTROL_ERRORS } from '../../src/control.js'
import { ERRORS } from '../../src/errors.js'
import { CATALOGUE } from '../../src/telemetry/catalogue.js'
import type { ValetEvent } from '../../src/telemetry/events.js'
import { levelOf, LOGIN_PROBE, messageOf } from '../../src/telemetry/levels.js'
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
A 401 carries \`WWW-Authenticate: Bearer realm="mcp-valet", error="invalid_token"\` and never \`resource_metadata\`;
\`ERR_CREDENTIAL_UNAVAILABLE\`, \`ERR_ISSUER_UNAVAILABLE\`, \`ERR_STATE_UNAVAILABLE\` and \`ERR_OVERLOADED\` carry \`Retry-After\`. Any other answer is the MCP server's own.

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

type Name = ValetEvent['event']
type KeysOf<M> = M extends unknown ? keyof M : never
type Of<E extends Name> = ValetEvent extends infer M ? M extends { readonly event: infer N } ? E extends N ? M : never : never : never
type Field = Exclude<KeysOf<ValetEvent>, 'event'>

/** Of each event its fields, all of them, which the compiler sees to, and examples of what decides on its level and its sentence. */
const EVENTS: { readonly [E in Name]: { readonly fields: Record<Exclude<KeysOf<Of<E>>, 'event'>, 1>, readonly like?: readonly object[] } } = {
  listening: { fields: { proxy: 1, admin: 1, upstreams: 1, principals: 1 }, like: [{ proxy: '…', admin: '…' }] },
  reloaded: { fields: { cause: 1, upstreams: 1, principals: 1 }, like: [{ cause: 'config' }, { cause: 'secrets' }] },
  reload_refused: { fields: { cause: 1, reason: 1 }, like: [{ cause: 'config' }, { cause: 'secrets' }] },
  stopping: { fields: {} },
  stopped: { fields: {} },
  session_created: { fields: { principal: 1, agent: 1, session: 1 } },
  session_revoked: { fields: { principal: 1, agent: 1, session: 1 } },
  principal_put: { fields: { principal: 1 } },
  principal_deleted: { fields: { principal: 1 } },
  warning: { fields: { reason: 1 }, like: [{ reason: 'its `reason`' }] },
  call: { fields: { request_id: 1, principal: 1, agent: 1, upstream: 1, method: 1, rpc_method: 1, tool: 1, attempt: 1, status: 1, outcome: 1, code: 1, refreshed: 1, first_byte: 1, overhead: 1, upstream_waits: 1 }, like: [{ status: 200 }] },
  stream_opened: { fields: { upstream: 1 } },
  stream_closed: { fields: { upstream: 1 } },
  denied: {
    fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, code: 1, reason: 1 },
    like: [{ code: 'ERR_SESSION_UNKNOWN' }, { reason: 'tool' }, { code: 'ERR_ADMIN_UNAUTHORIZED' }, { code: 'ERR_NOT_FOUND' }, { code: 'ERR_NOT_FOUND', reason: LOGIN_PROBE }],
  },
  anonymous: { fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, reason: 1 }, like: [{ reason: 'no_principal' }, { reason: 'refresh_failed' }] },
  rejected: { fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, status: 1, token: 1, reason: 1, replay: 1 }, like: [{ status: 401, replay: true }, { status: 401, replay: false }] },
  replayed: { fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, status: 1, outcome: 1 }, like: [{ outcome: 'mended' }, { outcome: 'refused' }, { outcome: 'failed' }] },
  refresh: {
    fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, type: 1, trigger: 1, outcome: 1, duration: 1, token: 1, previous: 1, expires_in: 1, reason: 1, retry_in: 1 },
    like: [{ outcome: 'ok' }, { outcome: 'adopted' }, { outcome: 'unchanged' }, { outcome: 'unavailable' }, { outcome: 'unavailable', attempt: 3 }, { outcome: 'revoked' }],
  },
  failed: { fields: { request_id: 1, principal: 1, agent: 1, session: 1, upstream: 1, rpc_method: 1, tool: 1, attempt: 1, code: 1, reason: 1 }, like: [{ code: 'ERR_UPSTREAM_TIMEOUT' }, { code: 'ERR_CREDENTIAL_REVOKED' }] },
  state_failed: { fields: { principal: 1, upstream: 1, reason: 1 } },
  internal_error: { fields: { request_id: 1, reason: 1 } },
}

const FIELDS: Record<Field, string> = {
  request_id: 'of the call; what its agent was answered by mcp-valet has the same one',
  principal: 'whose credential it is about',
  principals: 'how many the config has',
  agent: 'by its session, or its JWT',
  session: 'the id of a session; in the line of a call only where it has expired',
  upstream: 'the name of an upstream in the config',
  upstreams: 'the names of those in the config',
  method: 'of HTTP',
  rpc_method: 'a method that MCP knows, `batch`, `response`, `none` where there is no body, or `other`',
  tool: 'that the call names',
  attempt: 'which sending of the call, from 1; of `refresh` the how manieth failure in a row, of which the 1st, 2nd, 4th, 8th … are `warn` and the others `debug`',
  status: 'of HTTP; 0 where the agent left first',
  code: 'an error code of [errors.md](errors.md)',
  reason: 'why, in words of mcp-valet: never what a caller, an upstream or an issuer sent',
  outcome: 'of a call: `ok`, `replayed`, `error`, `aborted`, `broken`; of a refresh: `ok`, `unchanged`, `adopted`, `unavailable`, `revoked`; of a replay: `mended`, `refused`, `failed`',
  cause: '`config`, or `secrets` where these were read again under the same config',
  type: 'of the credential, as in the config',
  trigger: '`ahead` of the expiry, `expired`, `rejected` by the upstream, `manual`',
  token: 'a fingerprint: the first 8 hexadecimal digits of its SHA-256',
  previous: 'the fingerprint of the token before',
  replay: 'whether a renewal and a replay are tried now',
  refreshed: 'whether the call waited for a refresh',
  duration: 'milliseconds that the refresh took',
  expires_in: 'seconds that the new token lives',
  retry_in: 'seconds until the next attempt',
  first_byte: 'milliseconds from the arrival of the call to the first byte of its answer',
  overhead: 'milliseconds of that which mcp-valet took itself',
  upstream_waits: 'milliseconds for which the head of an answer was waited for, one number an attempt',
  proxy: 'where agents call',
  admin: 'where the admin listener is',
}

const exampleOf = (event: string, like: object): ValetEvent => ({ event, ...like }) as unknown as ValetEvent
const eventRows = Object.entries(EVENTS).map(([name, { fields, like = [{}] }]) => {
  const examples = like.map((one) => exampleOf(name, one))
  return [`\`${name}\``, [...new Set(examples.map(levelOf))].join(', '), [...new Set(examples.map(messageOf))].join('<br>'), Object.keys(fields).map((field) => `\`${field}\``).join(', ')]
})
page('log.md', `# The log

\`serve\` writes one JSON object a line to standard output; on a terminal it is made readable. Each has \`level\`, \`time\` (RFC 3339, UTC),
\`event\`, \`msg\`, which is for people and may change, and those of the fields below that apply. \`--log-level\` says from which level on; \`debug\`
has every call. \`info\` is part of normal operation, an expected 401 that a replay mends included; \`warn\` is what a caller suffers from;
\`error\` is what a person must see to. No line holds a token, a key, or anything that an upstream or an issuer sent.
[operate.md](operate.md) says what to look for.

${table(['`event`', 'level', '`msg`', 'fields'], eventRows)}
## Fields

${table(['field', 'says'], Object.entries(FIELDS).map(([field, says]) => [`\`${field}\``, says]))}`)

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
