import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAgent, type Agent } from './agent.js'
import type { Say } from './part.js'

export interface SteadyOptions {
  readonly endpoint: string
  readonly key: string
  /** Milliseconds between two calls. */
  readonly every: number
  /** A file that is written anew after a call that succeeded, at most once a second: whoever looks at its age sees whether calls go well. */
  readonly heartbeat: string | undefined
  readonly say: Say
  readonly signal: AbortSignal
  /** Milliseconds between two summaries; 10 s unless given. */
  readonly summary?: number
}

/** Of all calls since the start. */
interface Tally { ok: number, failed: number, slowest: number, readonly tokens: Set<string> }

/**
 * An agent that calls for as long as it may: tells of each call that failed, and now and then how many have succeeded, and
 * with how many tokens the MCP server saw them come. Connects anew after a failure, as agents do.
 */
export async function callSteadily (options: SteadyOptions): Promise<void> {
  const { say, signal, summary = 10_000 } = options
  const tally: Tally = { ok: 0, failed: 0, slowest: 0, tokens: new Set() }
  const tell = (event: string): void => say({ event, ok: tally.ok, failed: tally.failed, tokens: tally.tokens.size, slowest_ms: Math.round(tally.slowest) })
  const timer = setInterval(() => tell('calls'), summary)
  try {
    while (!signal.aborted) await callUntilFailure(options, tally)
  } finally {
    clearInterval(timer)
    tell('calls')
  }
}

async function callUntilFailure ({ endpoint, key, every, heartbeat, say, signal }: SteadyOptions, tally: Tally): Promise<void> {
  let agent: Agent | undefined
  let beatAt = 0
  try {
    agent = await connectAgent(endpoint, key)
    while (!signal.aborted) {
      const started = performance.now()
      const { fingerprint } = await agent.whoami()
      tally.ok++
      tally.slowest = Math.max(tally.slowest, performance.now() - started)
      tally.tokens.add(fingerprint)
      if (heartbeat !== undefined && started - beatAt >= 1000) {
        beatAt = started
        await writeFile(heartbeat, `${tally.ok}\n`)
      }
      await pause(every, signal)
    }
  } catch (error) {
    tally.failed++
    say({ event: 'call_failed', ...whatFailed(error) })
    await pause(Math.max(every, 500), signal)
  } finally {
    await agent?.close().catch(() => {})
  }
}

async function pause (ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
}

/** The sidecar's own code where it gave one; else what the client or the system says. */
export function whatFailed (error: unknown): { code: string, reason?: string } {
  const { message, code, cause, data } = error as Error & { code?: unknown, cause?: unknown, data?: unknown }
  // The SDK puts the body of an HTTP error into its message, and that of a JSON-RPC error into `data`.
  const ours = /"code":"(ERR_[A-Z_]+)"/.exec(message)?.[1] ?? (data as { code?: unknown } | undefined)?.code
  if (typeof ours === 'string') return { code: ours }
  return { code: String((cause as { code?: unknown } | undefined)?.code ?? code ?? (error as Error).name), reason: message.slice(0, 300) }
}
