import type { ToolRules } from './config/config.js'
import type { Credential, CredentialSource } from './credential/credential.js'
import type { ErrorCode } from './errors.js'
import type { Secret } from './secret.js'
import type { Share } from './room.js'
import type { Context } from './telemetry/events.js'
import type { CallTrace } from './telemetry/tracing.js'

/** Who calls: what a session key or a caller's JWT stands for. */
export interface Caller {
  readonly session: string
  readonly principal: string
  readonly agent: string
  /** Milliseconds since the epoch; undefined where the session has no end. Of a JWT its `exp` with the clocks' tolerance. */
  readonly expiresAt?: number
  /** The session's own rules on tools, beside those of its principal and of the upstream. */
  readonly tools?: ToolRules | undefined
  /** Of a caller that showed a JWT: what may be exchanged for a token of its principal (RFC 8693). */
  readonly subject?: Subject
}

/** A caller's own JWT, verified. */
export interface Subject {
  readonly token: Secret
  /** SHA-256 of it: two tokens of one principal may differ in what they allow, so what is got for one is not for the other. */
  readonly digest: string
  /** Milliseconds since the epoch: its `exp`. */
  readonly expiresAt: number
}

/** Which of an upstream's tools a caller may see and call. Where there is none, all of them. */
export interface ToolPolicy {
  allows (tool: string): boolean
}

/**
 * Under which authority a call goes out: with its principal's credential, with none, or with the headers that the
 * caller brought itself.
 */
export type Authority = 'credential' | 'anonymous' | 'relay'

/** What a JSON-RPC body says, as far as anybody here has to know; read once. */
export interface RpcSummary {
  /** The JSON-RPC id, echoed by an error answer: a string, a number, or null where there is none. */
  readonly id: string | number | null
  /** A method that MCP knows; `batch`, `response`, `other`, or `none` where there is no body. It becomes a label. */
  readonly method: string
  /** The tool that a `tools/call` names. */
  readonly tool: string | undefined
}

export const NO_RPC: RpcSummary = { id: null, method: 'none', tool: undefined }
const NONE: readonly string[] = []

/**
 * The record of one call. Each stage reads what the stages before it found and adds its own; nothing else is handed on.
 */
export class Exchange {
  readonly requestId: string
  readonly method: string
  readonly upstream: string
  /** Monotonic milliseconds at which the request's head had arrived. */
  readonly startedAt: number

  /** Of the upstream's URL, as the config has it under which the call came. */
  origin = ''
  caller: Caller | undefined
  /** Whose session it was that has expired: for telemetry alone. */
  lapsed: Caller | undefined
  authority: Authority = 'credential'
  source: CredentialSource | undefined
  credential: Credential | undefined
  policy: ToolPolicy | undefined
  /** Answers of our own, as JSON texts, that go to the agent with the upstream's: to those calls of a batch that were denied. */
  owed: readonly string[] = NONE
  /** Monotonic milliseconds until which renewals and replays may go on; set when the first of them begins. */
  deadline: number | undefined
  attempt = 0
  /** Monotonic milliseconds at which it was let in, before its body. */
  admittedAt = 0
  /** Milliseconds spent receiving the request body, which is the caller's time. */
  receiving = 0
  /** Milliseconds in which an answer that had to be read whole was arriving, which is the upstream's time. */
  holding = 0
  refreshed = false
  /** Milliseconds from dispatch to response headers, one entry an attempt. */
  readonly upstreamWaits: number[] = []
  dispatchedAt = 0
  firstByteAt: number | undefined
  status = 0
  code: ErrorCode | undefined
  /** What it holds of the memory that there is for calls; undefined until it is let in. */
  share: Share | undefined
  /** Its spans, where somebody wants them. */
  trace: CallTrace | undefined
  /** Where it stands among the calls under way; -1: nowhere. */
  slot = -1
  /** Its end has been told to telemetry. */
  reported = false
  /** The agent has gone: nothing may be started for it any more. */
  gone = false
  /** Takes back the upstream call that is under way. */
  abort: ((reason: Error) => void) | undefined
  #rpc = NO_RPC
  #readRpc: (() => RpcSummary) | undefined

  constructor (requestId: string, method: string, upstream: string, startedAt: number) {
    this.requestId = requestId
    this.method = method
    this.upstream = upstream
    this.startedAt = startedAt
  }

  get rpc (): RpcSummary {
    if (this.#readRpc !== undefined) this.rpc = this.#readRpc()
    return this.#rpc
  }

  set rpc (summary: RpcSummary) {
    this.#rpc = summary
    this.#readRpc = undefined
  }

  /**
   * Has the body read once somebody asks what it says: after most calls, when their end is told to telemetry. At a few
   * calls a second, when the code for it is in no cache, that is a twentieth of what a call takes longer here.
   */
  readRpcWhenAsked (read: () => RpcSummary): void {
    this.#readRpc = read
  }

  /** The fields that tell this call apart in the log. */
  context (): Context & { upstream: string } {
    const who = this.caller ?? this.lapsed
    return {
      request_id: this.requestId,
      upstream: this.upstream,
      rpc_method: this.rpc.method,
      ...(who === undefined ? {} : { principal: who.principal, agent: who.agent }),
      ...(this.lapsed === undefined ? {} : { session: this.lapsed.session }),
      ...(this.rpc.tool === undefined ? {} : { tool: this.rpc.tool }),
      ...(this.attempt === 0 ? {} : { attempt: this.attempt }),
    }
  }

  /** The sidecar's own part of the time to the first byte: all of it but the upstream's and the caller's. */
  overhead (): number | undefined {
    if (this.firstByteAt === undefined) return undefined
    const elsewhere = this.upstreamWaits.reduce((sum, wait) => sum + wait, this.receiving + this.holding)
    return Math.max(0, this.firstByteAt - this.startedAt - elsewhere)
  }
}
