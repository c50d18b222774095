import { parseArgs } from 'node:util'

export const PARTS = ['json', 'sse', 'latency', 'storm'] as const
export type Part = typeof PARTS[number]

export interface Options {
  only: Part[]
  rounds: number
  /** Measured calls of a row in a round. */
  calls: number
  /** Calls of each row, before its first round, that are not measured. */
  warmup: number
  connections: number
  /**
   * Calls/s of the open loop, for how long in a round, in how many slices, and its rounds: noise comes in bursts, and must
   * find all rows in turn.
   */
  rate: number
  seconds: number
  slices: number
  latencyRounds: number
  storms: number
  callers: number
  /** How long the token endpoint takes in the storm, ms. */
  tokenDelay: number
  out: string
  json: boolean
  assert: boolean
}

const FULL = { rounds: 5, calls: 10_000, warmup: 30_000, connections: 16, rate: 200, seconds: 2, slices: 10, storms: 3, callers: 1000, tokenDelay: 50 }
/** Rounds of the open loop to one of the closed loop. */
const LATENCY_ROUNDS = 2
const QUICK = { ...FULL, rounds: 1, calls: 400, warmup: 200, seconds: 0.75, slices: 3, storms: 1 }

export const HELP = `npm run bench -- [options]

What a call through mcp-valet costs, beside the same call sent direct, through stock @fastify/http-proxy, and through
nginx and Caddy where they are installed; each of them puts the same two headers on it. Everything runs on loopback, in
processes of its own: load generator, upstream, proxies. The rows take turns in every round, and in another order in each.

Parts (all, unless --only names some):
  json      closed loop, the upstream answers with one JSON document: calls/s, p50, p99, CPU per call, memory
  sse       the same with an event stream (one event, no content-length)
  latency   open loop at ${FULL.rate} calls/s, latency from the time a call was due: what each proxy adds to direct
  storm     ${FULL.callers} callers at once with a token that has just expired: token requests made, calls that failed

Options:
  --only LIST    parts, separated by commas
  --rounds N     rounds of json and sse (default ${FULL.rounds}); latency has ${LATENCY_ROUNDS} times as many, of ${FULL.seconds} s each
                 in ${FULL.slices} slices, in turn with those of the other rows
  --calls N      measured calls of each row in each round of json and sse (default ${FULL.calls})
  --quick        a smoke test of under 20 s: the figures mean little
  --out DIR      where the results go (default bench/results): latest.json and one file named after the date
  --json         the results as JSON on stdout, not as tables
  --assert       exit 1 unless every bar of the parts that ran is PASS
  --help         this

How to read it:
  Each figure is the median over the rounds. A ratio is taken within each round, then its median: whatever slows the
  whole machine for a while slows both sides of it. Only added latencies are subtracted first and then divided.
  CPU per call is what the proxy's process used according to the OS (all threads, and children), so it holds on a busy
  machine where calls/s does not: there, load and upstream compete with the proxy for the same cores.
  Every answer is compared byte for byte, with the id of its own call. A row with one bad answer is FAILED, not slow.
  mcp-valet runs with everything on: session keys, credential, metrics, and its log at info into a file.
  SKIP: it could not be measured here: nginx is not installed, or what nginx adds cannot be told from noise (its lower
  quartile over the rounds is not above zero). On a machine that does other work as well, believe the CPU ratios only.
`

/** Throws an Error fit to be printed where argv makes no sense; undefined if help was asked for. */
export function readOptions (argv: string[]): Options | undefined {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string' },
      rounds: { type: 'string' },
      calls: { type: 'string' },
      quick: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
      json: { type: 'boolean', default: false },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const { out, json, assert } = values
  const size = values.quick ? QUICK : FULL
  const rounds = count('rounds', values.rounds) ?? size.rounds
  const calls = count('calls', values.calls) ?? size.calls
  const latencyRounds = values.quick ? rounds : rounds * LATENCY_ROUNDS
  return { ...size, only: parts(values.only), rounds, latencyRounds, calls, out, json, assert }
}

function count (name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Error(`--${name} wants a positive number, not "${text}"`)
  return Number(text)
}

function parts (list: string | undefined): Part[] {
  if (list === undefined) return [...PARTS]
  const names = list.split(',').map(name => name.trim())
  const unknown = names.find(name => !PARTS.includes(name as Part))
  if (unknown !== undefined) throw new Error(`--only knows ${PARTS.join(', ')}, not "${unknown}"`)
  return PARTS.filter(part => names.includes(part))
}
