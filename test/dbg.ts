import { startWard } from './helpers/faults.js'
import { startPrometheus } from './helpers/prometheus.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { mkdtempSync } from 'node:fs'
const tds: Array<() => unknown> = []
const t = { teardown: (f: () => unknown) => { tds.unshift(f) }, testdir: () => mkdtempSync('/tmp/dbg-') } as never
const s = performance.now()
const log = (...a: unknown[]) => console.log(Math.round(performance.now() - s), ...a)
const ward = await startWard(t)
log('ward')
const p = await startPrometheus(t, {}, ward.targets)
log('prometheus', ward.targets)
ward.callAll()
for (let i = 0; i < 8; i++) { await sleep(1000); log((await p.query('up')).map(x => x.metric.instance + x.value[1]), (await p.query('sum by (upstream) (mcp_valet_requests_total)')).map(x => x.metric.upstream + x.value[1]).join()) }
if (process.argv[2] === 'break') {
  await ward.breakAll(); log('broken')
for (let i = 0; i < 8; i++) { await sleep(1000); log((await p.query('up')).map(x => x.metric.instance + x.value[1]), (await p.query('mcp_valet_state_failures_total > 0 or mcp_valet_internal_errors_total > 0 or mcp_valet_ready')).map(x => JSON.stringify(x)).join()) }
}
for (const f of tds) { const a = performance.now(); await f(); log('td', Math.round(performance.now() - a), String(f).slice(0, 60).replaceAll('\n', ' ')) }
