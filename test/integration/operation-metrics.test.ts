import t from 'tap'
import { call, rpc } from '../helpers/call.js'
import { freshToken, open, piece, startFlow, startRotating } from '../helpers/peers.js'
import { metric, startSidecar } from '../helpers/sidecar.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

interface Family { readonly type: string, readonly labels: ReadonlySet<string>, readonly samples: ReadonlyMap<string, number> }

/** Prometheus' text format, read as strictly as it is written here. */
function parse (exposition: string): Map<string, Family> {
  const families = new Map<string, { type: string, labels: Set<string>, samples: Map<string, number> }>()
  let current: { type: string, labels: Set<string>, samples: Map<string, number> } | undefined
  for (const line of exposition.split('\n').filter((line) => line !== '')) {
    const type = /^# TYPE (\S+) (\S+)$/.exec(line)
    if (type !== null) families.set(type[1] as string, current = { type: type[2] as string, labels: new Set(), samples: new Map() })
    if (line.startsWith('#')) continue
    const sample = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (sample === null || current === undefined) throw new Error(`not a sample: ${line}`)
    for (const [, name] of (sample[2] ?? '').matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) if (name !== 'le') current.labels.add(name as string)
    current.samples.set(line.slice(0, line.lastIndexOf(' ')), Number(sample[3]))
  }
  return families
}

/** The contract of design/interface.md. */
const CONTRACT: Record<string, [type: string, ...labels: string[]]> = {
  requests_total: ['counter', 'method', 'outcome', 'rpc_method', 'status', 'upstream'],
  request_duration_seconds: ['histogram', 'rpc_method', 'upstream'],
  overhead_seconds: ['histogram', 'refreshed', 'upstream'],
  upstream_duration_seconds: ['histogram', 'upstream'],
  token_refresh_total: ['counter', 'outcome', 'trigger', 'type', 'upstream'],
  token_refresh_duration_seconds: ['histogram', 'type', 'upstream'],
  replays_total: ['counter', 'outcome', 'status', 'upstream'],
  upstream_rejections_total: ['counter', 'status', 'upstream'],
  anonymous_total: ['counter', 'reason', 'upstream'],
  denied_total: ['counter', 'reason'],
  failed_total: ['counter', 'code', 'upstream'],
  internal_errors_total: ['counter'],
  state_failures_total: ['counter', 'upstream'],
  credentials: ['gauge', 'state', 'upstream'],
  credential_expiry_seconds: ['gauge', 'upstream'],
  streams: ['gauge', 'upstream'],
  config_reloads_total: ['counter', 'outcome'],
  config_last_reload_successful: ['gauge', 'cause'],
  ready: ['gauge'],
  build_info: ['gauge', 'node', 'version'],
}

t.test('O2: every metric is there with its type and its labels, and a script of calls moves each as it should', async (t) => {
  const refused = new Set<string>()
  const upstream = await startUpstream(t, guarded((token) => !refused.has(token), (seen, response) => {
    if (seen.method !== 'GET') return void response.end('{}')
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  }))
  const { url, key, first, sidecar } = await startRotating(t, upstream.origin, { upstream: 'anonymous: [no_principal]' })
  await call(url, { key, body: rpc('tools/call', { name: 'secret-tool' }) })
  refused.add(first)
  await call(url, { key, body: rpc('tools/list') })
  await call(url, { key, body: rpc('made/up') })
  await call(url, { body: rpc('ping') })
  await call(url, { key: 'vk_wrong' })
  const { request, head } = open(url, { method: 'GET', key })
  await piece(await head)

  const text = await sidecar.metrics()
  const families = parse(text)
  t.same([...families.keys()].map((name) => name.replace('mcp_valet_', '')).sort(), Object.keys(CONTRACT).sort())
  for (const [name, [type, ...labels]] of Object.entries(CONTRACT)) {
    const family = families.get(`mcp_valet_${name}`)
    t.equal(family?.type, type, name)
    t.same([...family?.labels ?? []].sort(), labels, name)
  }
  const expected: Record<string, number> = {
    'mcp_valet_requests_total{upstream="tools",method="POST",rpc_method="tools/call",status="200",outcome="ok"}': 1,
    'mcp_valet_requests_total{upstream="tools",method="POST",rpc_method="tools/list",status="200",outcome="replayed"}': 1,
    'mcp_valet_requests_total{upstream="tools",method="POST",rpc_method="other",status="200",outcome="ok"}': 1,
    'mcp_valet_requests_total{upstream="tools",method="POST",rpc_method="ping",status="502",outcome="error"}': 1,
    'mcp_valet_requests_total{upstream="tools",method="POST",rpc_method="tools/list",status="401",outcome="error"}': 1,
    'mcp_valet_request_duration_seconds_count{upstream="tools",rpc_method="tools/list"}': 1,
    'mcp_valet_overhead_seconds_count{upstream="tools",refreshed="false"}': 2,
    'mcp_valet_overhead_seconds_count{upstream="tools",refreshed="true"}': 1,
    'mcp_valet_upstream_duration_seconds_count{upstream="tools"}': 5,
    'mcp_valet_token_refresh_total{upstream="tools",type="refresh_token",trigger="rejected",outcome="ok"}': 1,
    'mcp_valet_token_refresh_duration_seconds_count{upstream="tools",type="refresh_token"}': 1,
    'mcp_valet_replays_total{upstream="tools",status="401",outcome="mended"}': 1,
    'mcp_valet_upstream_rejections_total{upstream="tools",status="401"}': 1,
    'mcp_valet_anonymous_total{upstream="tools",reason="no_principal"}': 1,
    'mcp_valet_denied_total{reason="ERR_SESSION_UNKNOWN"}': 1,
    'mcp_valet_failed_total{upstream="tools",code="ERR_UPSTREAM_UNAUTHORIZED"}': 1,
    'mcp_valet_config_last_reload_successful{cause="config"}': 1,
    mcp_valet_ready: 1,
    'mcp_valet_credentials{upstream="tools",state="valid"}': 1,
    'mcp_valet_credentials{upstream="tools",state="revoked"}': 0,
    'mcp_valet_streams{upstream="tools"}': 1,
  }
  for (const [series, value] of Object.entries(expected)) t.equal(metric(text, series), value, series)
  const expiry = metric(text, 'mcp_valet_credential_expiry_seconds{upstream="tools"}')
  t.ok(expiry > 3000 && expiry <= 3600, `${expiry} s`)
  t.match(text, /mcp_valet_overhead_seconds_bucket\{le="0.00005",/)
  t.match(text, /mcp_valet_overhead_seconds_bucket\{le="0.1",/)
  for (const canary of ['alice', 'secret-tool', 'made/up', upstream.origin, key, first]) t.notOk(text.includes(canary), 'no label says who or where')

  request.destroy()
  await sidecar.until(({ event }) => event === 'stream_closed')
  t.match(await sidecar.metrics(), /^mcp_valet_streams\{upstream="tools"\} 0$/m)
})

t.test('O2: each way of being refused at the door is counted by its code', async (t) => {
  const upstream = await startUpstream(t)
  const { url, sidecar, key } = await startFlow(t, upstream.origin, '', { more: '  bob: {}' })
  await call(url)
  await call(url, { key: 'vk_no' })
  await call(url, { key, headers: { host: 'evil.example' } })
  await call(url, { key, headers: { origin: 'http://evil.example' } })
  await call(url, { key: await sidecar.keyFor('bob') })
  await call(url + '/a%2fb', { key })
  const text = await sidecar.metrics()
  for (const reason of ['ERR_SESSION_REQUIRED', 'ERR_SESSION_UNKNOWN', 'ERR_HOST_REFUSED', 'ERR_ORIGIN_REFUSED', 'ERR_CREDENTIAL_MISSING', 'ERR_REQUEST_INVALID']) {
    t.equal(metric(text, `mcp_valet_denied_total{reason="${reason}"}`), 1, reason)
  }
})

t.test('row 53: the number of series does not grow with principals, tools, methods, ids or paths', async (t) => {
  const upstream = await startUpstream(t)
  const names = Array.from({ length: 40 }, (_, i) => `p${i}`)
  const sidecar = await startSidecar(t, `
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals:
${names.map((id) => `  ${id}: { credentials: { tools: { type: api_token, token: { env: T } } } }`).join('\n')}
`, { env: { T: freshToken() } })
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const round = async (names: string[], salt: string): Promise<number> => {
    for (const [i, name] of names.entries()) {
      const key = await sidecar.keyFor(name, `${salt}-${name}`)
      await call(`${url}/${salt}${i}?${i}`, { key, body: rpc('tools/call', { name: `${salt}${i}` }, `${salt}${i}`) })
      await call(url, { key, body: rpc(`${salt}/${i}`) })
      await call(url, { key, body: `[${i}]` })
    }
    return (await sidecar.metrics()).split('\n').length
  }
  const before = await round(names.slice(0, 2), 'a')
  t.equal(await round(names, 'b'), before)
})

t.test('O1: overhead leaves out the upstream\'s wait and the caller\'s upload', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { setTimeout(() => response.end('{}'), 500) })
  const { url, key, sidecar } = await startFlow(t, upstream.origin)
  const body = rpc('tools/call', { name: 'x' })
  const { request: opener } = await import('node:http').then(({ request }) => ({ request }))
  const request = opener(url, { method: 'POST', headers: { 'x-session-key': key, 'content-type': 'application/json', 'content-length': body.length } })
  request.write(body.slice(0, 10))
  setTimeout(() => request.end(body.slice(10)), 500)
  await new Promise<void>((resolve, reject) => {
    request.on('error', reject).on('response', (response) => response.resume().on('end', resolve))
  })
  const event = await sidecar.until(({ event }) => event === 'call')
  if (event.event !== 'call') return t.fail()
  t.ok((event.first_byte as number) >= 600, `${event.first_byte} ms in all`)
  t.ok((event.overhead as number) < (event.first_byte as number) * 0.3, `${event.overhead} ms of it here`)
  t.ok((event.upstream_waits[0] as number) >= 390)
  t.equal(event.refreshed, false)
})

t.test('O1: the wait for a renewal is overhead, and marked as such', async (t) => {
  const upstream = await startUpstream(t, (seen, response, request) => guarded((token) => token !== first)(seen, response, request))
  const { url, key, first, sidecar } = await startRotating(t, upstream.origin, {
    issuer: { onTokenRequest: async (_params, next) => { await new Promise((resolve) => setTimeout(resolve, 200)); return await next() } },
  })
  t.equal((await call(url, { key })).status, 200)
  const event = await sidecar.until(({ event }) => event === 'call')
  if (event.event !== 'call') return t.fail()
  t.ok((event.overhead as number) >= 190)
  t.same([event.refreshed, event.outcome, event.upstream_waits.length], [true, 'replayed', 2])
})
