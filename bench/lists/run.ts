/** `npm run bench:lists`: what does it cost to filter a long list of tools? */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { start, stopAll, until } from '../lib/children.js'
import { median } from '../lib/stats.js'

const TOOLS = 1_000
const LIMIT_MS = 10
const ROUNDS = 60
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

// A list of 1 MB, of which every other tool is hidden.
const tools = Array.from({ length: TOOLS }, (_, i) => ({ name: `${i % 2 === 0 ? 'admin' : 'search'}_${i}`, description: 'd'.repeat(850), inputSchema: { type: 'object', properties: { query: { type: 'string' } } } }))
const list = JSON.stringify({ jsonrpc: '2.0', id: 1, result: { tools } })
const upstream = createServer((asked, response) => {
  asked.resume().on('end', () => {
    if (asked.url?.startsWith('/json') === true) response.writeHead(200, { 'content-type': 'application/json' }).end(list)
    else response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`event: message\ndata: ${list}\n\n`)
  })
})
await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
const base = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`

const work = mkdtempSync(join(tmpdir(), 'valet-lists-'))
const key = mintSessionKey().reveal()
let missed = false
try {
  if (!existsSync(CLI)) throw new Error('not built: npm run build')
  console.log(`a list of ${TOOLS} tools and ${(list.length / 1e6).toFixed(2)} MB; what filtering adds to passing it on, medians of ${ROUNDS} pairs`)
  for (const answer of ['json', 'sse'] as const) await measure(answer)
} finally {
  await stopAll()
  upstream.close()
  rmSync(work, { recursive: true, force: true })
}
process.exitCode = missed ? 1 : 0

async function measure (answer: 'json' | 'sse'): Promise<void> {
  const file = join(work, `${answer}.yaml`)
  writeFileSync(file, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams:
  open: { url: "${base}/${answer}" }
  filtered: { url: "${base}/${answer}", tools: { deny: ["admin_*"] } }
principals: { bench: { credentials: { open: { type: api_token, token: { env: KEY } }, filtered: { type: api_token, token: { env: KEY } } } } }
sessions: [{ principal: bench, agent: bench, key: { env: KEY } }]
`)
  const child = start(process.execPath, [CLI, 'serve', '-c', file], join(work, `${answer}.log`), { KEY: key })
  const proxy = await until(child, () => /"proxy":"([^"]+)"/.exec(readFileSync(child.log, 'utf8'))?.[1])
  const firstOpen = await lasting(`${proxy}/open/mcp`, TOOLS)
  const first = await lasting(`${proxy}/filtered/mcp`, TOOLS / 2) - firstOpen
  const added: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const passed = await lasting(`${proxy}/open/mcp`, TOOLS)
    added.push(await lasting(`${proxy}/filtered/mcp`, TOOLS / 2) - passed)
  }
  const figure = median(added)
  missed ||= figure >= LIMIT_MS
  console.log(`${answer.padEnd(5)} ${figure.toFixed(2).padStart(6)} ms (<${LIMIT_MS} ms) ${figure < LIMIT_MS ? 'PASS' : 'MISSED'}; the very first one of a process ${first.toFixed(1)} ms`)
  await child.stop()
}

/** Milliseconds that a list takes, and that it has the tools that it should. */
async function lasting (url: string, expected: number): Promise<number> {
  const began = performance.now()
  const text = await new Promise<string>((resolve, reject) => {
    const call = request(url, { method: 'POST', agent: false, headers: { 'x-session-key': key, 'content-type': 'application/json', accept: 'application/json, text/event-stream' } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject).on('end', () => resolve(Buffer.concat(chunks).toString()))
    })
    call.on('error', reject).end('{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
  })
  const took = performance.now() - began
  const found = text.split('"name":').length - 1
  if (found !== expected) throw new Error(`${found} tools in place of ${expected}`)
  return took
}
