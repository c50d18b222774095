import t from 'tap'
import { parseOverhead } from '../../../src/demo/overhead.js'
import { agentConfig, curl, pasteable } from '../../../src/demo/paste.js'
import { createPalette, describe, formatDuration, maskKey, type Findings } from '../../../src/demo/report.js'

const ESCAPE = String.fromCharCode(27)
const endpoint = 'http://127.0.0.1:8401/demo/mcp'
const findings: Findings = {
  endpoint,
  maskedKey: 'vk_abcd…',
  tools: ['whoami', 'add'],
  subject: 'alice',
  remainingSeconds: 15,
  before: '00000001',
  after: '00000002',
  lifetime: 15,
  overhead: { meanSeconds: 0.0004, calls: 12 },
}

t.test('the report says what was held, received, mended and spent', async (t) => {
  const text = describe(findings, createPalette(false))
  t.match(text, /session key +vk_abcd… +and no token at all\n/)
  t.match(text, /Authorization +Bearer <00000001> .*alice, good for 15 s\n/)
  t.match(text, /X-API-KEY +<00000001> /)
  t.match(text, /<00000001> → <00000002>/)
  t.match(text, /400 µs a call +mean of 12 calls/)
  t.notMatch(text, ESCAPE, 'no colour where none is wanted')
  t.match(describe({ ...findings, overhead: undefined }, createPalette(false)), /not measured/)
})

t.test('colour changes nothing but the colour', async (t) => {
  const plain = describe(findings, createPalette(false))
  const coloured = describe(findings, createPalette(true))
  t.match(coloured, ESCAPE)
  t.equal(coloured.replaceAll(new RegExp(`${ESCAPE}\\[\\d+m`, 'g'), ''), plain)
})

t.test('the overhead is the mean of the calls that met no refresh', async (t) => {
  const metrics = [
    '# TYPE mcp_valet_overhead_seconds histogram',
    'mcp_valet_overhead_seconds_bucket{le="0.1",upstream="demo",refreshed="false"} 4',
    'mcp_valet_overhead_seconds_sum{upstream="demo",refreshed="false"} 0.002',
    'mcp_valet_overhead_seconds_count{upstream="demo",refreshed="false"} 4',
    'mcp_valet_overhead_seconds_sum{upstream="demo",refreshed="true"} 9',
    'mcp_valet_overhead_seconds_count{upstream="demo",refreshed="true"} 1',
  ].join('\n')
  t.same(parseOverhead(metrics), { meanSeconds: 0.0005, calls: 4 })
  t.equal(parseOverhead(''), undefined)
})

t.test('durations and keys', async (t) => {
  t.equal(formatDuration(0.000_412_4), '412 µs')
  t.equal(formatDuration(0.012_34), '12.3 ms')
  t.equal(maskKey('vk_abcdefgh'), 'vk_abcd…')
})

t.test('what is there to paste works as it stands', async (t) => {
  const text = pasteable({ endpoint, key: 'vk_key', adminUrl: 'http://127.0.0.1:8402' }, createPalette(false))
  t.same(JSON.parse(agentConfig(endpoint, 'vk_key')), {
    mcpServers: { demo: { type: 'http', url: endpoint, headers: { 'X-Session-Key': 'vk_key' } } },
  })
  for (const part of [agentConfig(endpoint, 'vk_key'), curl(endpoint, 'vk_key'), 'http://127.0.0.1:8402/metrics', 'http://127.0.0.1:8402/healthz', 'Ctrl-C']) {
    t.ok(text.includes(part), part.slice(0, 40))
  }
})
