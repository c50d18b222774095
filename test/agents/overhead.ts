import { fileURLToPath } from 'node:url'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { histogramQuantile, observations, readHistogram, since } from '../../bench/lib/histogram.js'
import { quantile } from '../../bench/lib/stats.js'
import type { Closers } from './closers.js'
import { Program } from './program.js'
import type { McpServer } from './servers.js'
import type { Valet } from './valet.js'

const HISTOGRAM = 'mcp_valet_overhead_seconds'
/** V8 runs code as fast as it can only after some thousand calls, which a sidecar has behind it for most of its life. */
const WARM_UP = 2_000
/** More than a direct call by less than a tenth; the sidecar's own part of 99 of 100 calls below 5 ms. */
const BARS = { ratio: 1.1, p99: 5 } as const

/** A tool that has nothing to do, which leaves the calls themselves; and one that waits for something, as most tools do. */
const TOOLS = [
  { title: 'a tool that adds two numbers', name: 'add', arguments: { a: 2, b: 3 }, text: '5.0' },
  { title: 'a tool that waits for 10 ms', name: 'slow_count', arguments: { n: 1, interval_ms: 10 }, text: 'counted to 1' },
] as const

type Tool = typeof TOOLS[number]

/** Milliseconds that the calls of each way took. */
interface Taken { readonly direct: number[], readonly through: number[] }

/** Where the two ways begin. */
interface Ways { readonly tool: Tool, readonly directUrl: string, readonly token: string, readonly valetUrl: string, readonly key: string }

interface Caller { readonly name: string, measure (ways: Ways): Promise<Taken> }

/** Milliseconds. */
interface Times { readonly p50: number, readonly p95: number }
export interface Measured { readonly caller: string, readonly tool: string, readonly calls: number, readonly direct: Times, readonly through: Times, readonly overhead: { readonly p50: number, readonly p99: number } }

/**
 * What a call of each tool costs through the sidecar, beside the same call sent direct: one client process, one session
 * each, one call at a time, the two in turn, and each first as often as the other.
 * @param python with FastMCP, for its client
 * @param calls of each way, of each client and tool
 */
export async function measureOverhead (closers: Closers, { server, valet, key, python, calls, progress }: {
  server: McpServer, valet: Valet, key: string, python: string, calls: number, progress: (line: string) => void
}): Promise<Measured[]> {
  const callers: Caller[] = [
    { name: "FastMCP's client", measure: async (ways) => await fastMcp(closers, python, ways, calls) },
    { name: 'TypeScript SDK, MCP 2025-11-25', measure: async (ways) => await typeScript(closers, 'legacy', ways, calls) },
    { name: 'TypeScript SDK, MCP 2026-07-28', measure: async (ways) => await typeScript(closers, { pin: '2026-07-28' }, ways, calls) },
  ]
  const measured: Measured[] = []
  for (const tool of TOOLS) {
    for (const { name: caller, measure } of callers) {
      const { access_token: token } = await server.issuer.login('alice')
      progress(`${caller}, ${tool.title}: ${calls} calls each way`)
      const before = readHistogram(await valet.metrics(), HISTOGRAM)
      const { direct, through } = await measure({ tool, directUrl: server.url, token, valetUrl: `${valet.proxyUrl}/${server.id}/mcp`, key })
      const now = readHistogram(await valet.metrics(), HISTOGRAM)
      if (now === undefined) throw new Error('the sidecar has no overhead histogram')
      const own = since(now, before)
      if (observations(own) < calls) throw new Error(`the sidecar observed ${observations(own)} calls of ${calls}`)
      const ms = (q: number): number => histogramQuantile(own, q) * 1000
      measured.push({ caller, tool: tool.title, calls, direct: percentiles(direct), through: percentiles(through), overhead: { p50: ms(0.5), p99: ms(0.99) } })
    }
  }
  return measured
}

async function fastMcp (closers: Closers, python: string, { tool, directUrl, token, valetUrl, key }: Ways, calls: number): Promise<Taken> {
  const program = new Program(python, [fileURLToPath(new URL('overhead_client.py', import.meta.url))], {
    DIRECT_URL: directUrl,
    TOKEN: token,
    VALET_URL: valetUrl,
    KEY: key,
    CALLS: String(calls),
    WARM_UP: String(WARM_UP),
    TOOL: tool.name,
    ARGUMENTS: JSON.stringify(tool.arguments),
    TEXT: tool.text,
  })
  closers.teardown(async () => await program.stop())
  try {
    const taken = JSON.parse(await program.line((line) => line.startsWith('{'), 0, 90_000 + (WARM_UP + calls) * 100)) as Taken
    await program.end()
    return taken
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${program.output}`)
  }
}

async function typeScript (closers: Closers, mode: 'legacy' | { pin: '2026-07-28' }, { tool, directUrl, token, valetUrl, key }: Ways, calls: number): Promise<Taken> {
  const connect = async (url: string, headers: Record<string, string>): Promise<() => Promise<number>> => {
    const client = new Client({ name: 'overhead', version: '1.0.0' }, { versionNegotiation: { mode } })
    await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }))
    closers.teardown(async () => await client.close())
    return async () => await timed(client, tool)
  }
  const direct = await connect(directUrl, { Authorization: `Bearer ${token}`, 'X-API-KEY': token })
  const through = await connect(valetUrl, { 'X-Session-Key': key })
  for (let call = 0; call < WARM_UP; call++) {
    await direct()
    await through()
  }
  const taken: Taken = { direct: [], through: [] }
  for (let call = 0; call < calls; call++) {
    if (call % 2 === 0) taken.direct.push(await direct())
    taken.through.push(await through())
    if (call % 2 === 1) taken.direct.push(await direct())
  }
  return taken
}

/** Milliseconds that a call takes. @throws where its answer is another */
async function timed (client: Client, { name, arguments: given, text }: Tool): Promise<number> {
  const start = performance.now()
  const { content } = await client.callTool({ name, arguments: given })
  const took = performance.now() - start
  const [first] = content
  if (first?.type !== 'text' || first.text !== text) throw new Error(`${name} gave ${JSON.stringify(content)}`)
  return took
}

function percentiles (times: number[]): Times {
  return { p50: quantile(times, 0.5), p95: quantile(times, 0.95) }
}

/** The figures for people, and whether each bar is met. */
export function judgeOverhead (measured: readonly Measured[]): { text: string, good: boolean } {
  const lines = measured.map(({ caller, tool, calls, direct, through, overhead }) => {
    const [p50, p95] = [through.p50 / direct.p50, through.p95 / direct.p95]
    const good = p50 < BARS.ratio && p95 < BARS.ratio && overhead.p99 < BARS.p99
    const pair = (times: Times): string => `p50 ${times.p50.toFixed(2)} ms, p95 ${times.p95.toFixed(2)} ms`
    return {
      good,
      text: `${caller}, ${tool}, ${calls} calls each: direct ${pair(direct)}; through mcp-valet ${pair(through)}; ratios ${p50.toFixed(3)} and ${p95.toFixed(3)} (bar ${BARS.ratio}); own part p50 ${overhead.p50.toFixed(2)} ms, p99 ${overhead.p99.toFixed(2)} ms (bar ${BARS.p99}): ${good ? 'PASS' : 'FAIL'}`,
    }
  })
  return { text: lines.map(({ text }) => text).join('\n'), good: lines.every(({ good }) => good) }
}
