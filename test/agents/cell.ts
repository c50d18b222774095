import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import type { WhoAmI } from '../../src/demo/agent.js'
import { startHop, type Passed, type TokenHop } from '../helpers/token-hop.js'
import type { AgentClient } from './clients.js'
import { Closers } from './closers.js'
import { Program } from './program.js'
import { LIFETIME, type McpServer } from './servers.js'
import type { Principal, Valet } from './valet.js'

/** One client at one server, as whom. */
export interface Cell { readonly client: AgentClient, readonly server: McpServer, readonly principal: Principal, readonly key: string }

/** What was shown. */
export interface Shown {
  /** MCP version that the two agreed on. */
  readonly protocol: string
  readonly calls: number
  /** Different tokens that the server saw in calls of this session. */
  readonly tokens: readonly string[]
  /** Milliseconds since the epoch, of its first answer and its last. */
  readonly from: number
  readonly to: number
  readonly seconds: number
}

export interface Outcome { readonly cell: Cell, readonly shown?: Shown, readonly failure?: string }

const STEPS = 12
const STEP_MS = 500
const SEARCH = 'search_notes'

/** Runs the example file of a client as a process, through the sidecar, and puts it through everything. Never throws. */
export async function runCell (cell: Cell, valet: Valet, interpreter: string): Promise<Outcome> {
  const closers = new Closers()
  let program: Program | undefined
  let hop: TokenHop | undefined
  try {
    hop = await startHop(closers, valet.proxyUrl)
    program = new Program(interpreter, [fileURLToPath(new URL(`../../examples/agents/${cell.client.file}`, import.meta.url))], {
      MCP_VALET_URL: `${hop.origin}/${cell.server.id}/mcp`, MCP_VALET_KEY: cell.key,
    })
    const started = program
    closers.teardown(async () => await started.stop())
    const shown = await converse(cell, program)
    const code = await program.end()
    assert(code === 0, `it ended with ${code}`)
    return { cell, shown: { ...shown, protocol: judge(hop.passed) } }
  } catch (error) {
    const passed = hop?.passed.map(({ method, rpcMethod = '', status, end }) => `${method} ${rpcMethod} ${status} ${end}`) ?? []
    return { cell, failure: `${(error as Error).message}\n${program?.output ?? ''}\n${passed.join('\n')}`.trim() }
  } finally {
    await closers.close()
  }
}

/** All within one MCP session: list, call while tokens expire, a stream across an expiry, a token that is taken back, a denied tool. */
async function converse ({ client, server, principal }: Cell, program: Program): Promise<Omit<Shown, 'protocol'>> {
  const offered = (await program.line((line) => line.startsWith('tools: '))).split(' ').slice(1)
  assert(['whoami', 'add', 'slow_count'].every((tool) => offered.includes(tool)), `it was offered ${offered.join(' ')}`)
  assert(!offered.includes(SEARCH), `it was offered ${SEARCH}, which it may not use`)

  const from = Date.now()
  const tokens = new Set<string>()
  let calls = 0
  const call = async (tool: string, args: object = {}): Promise<string> => {
    const line = program.lines.length
    program.say(`${tool} ${JSON.stringify(args)}`)
    calls++
    return await program.line((line) => /^(?:result|error): /.test(line), line)
  }
  const result = async (tool: string, args?: object): Promise<string> => {
    const line = await call(tool, args)
    assert(line.startsWith('result: '), `${tool}: ${line}`)
    return line.slice('result: '.length)
  }
  const whoami = async (): Promise<string> => {
    const { subject, fingerprint, remaining_seconds: left } = JSON.parse(await result('whoami')) as WhoAmI
    assert(subject === principal, `the server took it for ${subject}, and it is ${principal}`)
    assert(left >= 0 && left <= LIFETIME, `its token had ${left} s left`)
    tokens.add(fingerprint)
    return fingerprint
  }

  while (Date.now() - from < 1.2 * LIFETIME * 1000) {
    await whoami()
    await sleep(500)
  }
  assert(Number(await result('add', { a: 2, b: 3 })) === 5, 'add adds')

  const before = program.lines.length
  assert(await result('slow_count', { n: STEPS, interval_ms: STEP_MS }) === `counted to ${STEPS}`, 'slow_count counts')
  const progress = program.lines.slice(before).filter((line) => line.startsWith('progress: '))
  if (client.progress) assert(progress.length === STEPS && progress.at(-1) === `progress: ${STEPS} of ${STEPS}`, `of ${STEPS} steps it heard ${progress.length}`)

  const taken = await whoami()
  await server.reject(taken)
  assert(await whoami() !== taken, 'a token that was taken back is replaced')

  const denied = await call(SEARCH, { query: 'refresh' })
  assert(denied.startsWith('error: ') && (!client.unlisted || denied.includes(`Unknown tool: ${SEARCH}`)), `${SEARCH}: ${denied}`)
  await whoami()

  const to = Date.now()
  assert(to - from >= 2 * LIFETIME * 1000 + 2000 && tokens.size >= 4, `it saw ${tokens.size} tokens in ${to - from} ms`)
  return { calls, tokens: [...tokens], from, to, seconds: (to - from) / 1000 }
}

/** Judges what passed between the client and the sidecar. @returns the MCP version */
function judge (passed: readonly Passed[]): string {
  const statuses = passed.filter(({ status }) => status === 401 || status === 403 || status >= 500)
  assert(statuses.length === 0, `the agent got ${statuses.map(({ status }) => status).join(' ')}`)
  const sessions = new Set(passed.flatMap(({ session }) => session === undefined ? [] : [session]))
  assert(sessions.size <= 1, `it took ${sessions.size} sessions`)
  const versions = passed.filter(({ rpcMethod }) => rpcMethod === 'tools/call').map(({ headers }) => headers['mcp-protocol-version'] as string | undefined)
  return versions.at(-1) ?? 'unknown'
}

export function assert (holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what)
}
