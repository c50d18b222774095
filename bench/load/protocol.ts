/** What the parent tells the load generator and what it hears back, over the fork's channel (`serialization: 'advanced'`). */
import type { AnswerKind } from '../wire.js'

export interface Destination { port: number, path: string, headers: Record<string, string>, answer: AnswerKind }

/** Each but the first is for the connections that are open to that port. */
export type LoadCommand =
  /** Connects, initialises an MCP session and makes `warmup` calls in all that are not measured, though they are verified. */
  | { do: 'open', to: Destination, connections: number, warmup: number }
  /** Closed loop: `calls` calls, each connection sends its next one when it has its answer. */
  | { do: 'closed', port: number, calls: number }
  /** Open loop: one call each 1/`rate` s whatever becomes of the others; latency counts from the time it was due. */
  | { do: 'paced', port: number, rate: number, seconds: number }
  /** One call on every connection at the same moment. */
  | { do: 'burst', port: number }
  | { do: 'close', port: number }

/** Times in ms; `late` (open loop only) is how late the generator itself was: part of the latency, and not the proxy's. */
export interface Outcome {
  calls: number
  failures: number
  /** The first few failures in words. */
  reasons: string[]
  seconds: number
  latencies: Float64Array
  late?: Float64Array
}
