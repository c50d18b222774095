import type { AnonymousReason, CredentialConfig } from '../config/config.js'
import type { ControlErrorCode } from '../control.js'
import type { CredentialState, RefreshTrigger } from '../credential/credential.js'
import type { ErrorCode } from '../errors.js'

/** Who and what an event is about: the fields that every line of the log may carry. */
export interface Context {
  readonly request_id?: string
  readonly principal?: string
  readonly agent?: string
  /** Of one that has expired. */
  readonly session?: string
  readonly upstream?: string
  readonly rpc_method?: string
  readonly tool?: string
  readonly attempt?: number
}

export type CallOutcome =
  /** the upstream's answer went to the agent */
  | 'ok'
  /** so it did, after a refused credential was renewed and the call replayed */
  | 'replayed'
  /** the sidecar answered with an error of its own */
  | 'error'
  /** the agent left before there was an answer, or before all of it had arrived; for a GET, which only listens, that is `ok` */
  | 'aborted'
  /** the upstream broke off in the middle of its answer */
  | 'broken'

export type ReloadCause = 'config' | 'secrets'

export type RefreshOutcome = 'ok' | 'unchanged' | 'adopted' | 'unavailable' | 'revoked'

/** What happened to one replay: the upstream was content, refused again, or could not be reached. */
export type ReplayOutcome = 'mended' | 'refused' | 'failed'

/**
 * Everything that telemetry is told. Stages emit these and know neither the log nor the metrics; what an event's level
 * is and which series it moves is decided there. No field ever holds a token: `token` is a fingerprint.
 */
export type ValetEvent =
  | { readonly event: 'listening', readonly proxy: string, readonly admin: string, readonly upstreams: readonly string[], readonly principals: number }
  /** It goes on with another config, or has read its secrets again. */
  | { readonly event: 'reloaded', readonly cause: ReloadCause, readonly upstreams: readonly string[], readonly principals: number }
  | { readonly event: 'reload_refused', readonly cause: ReloadCause, readonly reason: string }
  | { readonly event: 'stopping' }
  | { readonly event: 'stopped' }
  | { readonly event: 'session_created' | 'session_revoked', readonly principal: string, readonly agent: string, readonly session: string }
  | { readonly event: 'principal_put' | 'principal_deleted', readonly principal: string }
  | { readonly event: 'warning', readonly reason: string }
  | CallEvent
  | { readonly event: 'stream_opened' | 'stream_closed', readonly upstream: string }
  /** A call was refused, or a request to the admin API that may not be made at all. */
  | Context & { readonly event: 'denied', readonly code: ErrorCode | ControlErrorCode, readonly reason?: string }
  | Context & { readonly event: 'denied', readonly upstream: string, readonly code?: undefined, readonly reason: 'tool' }
  | Context & { readonly event: 'anonymous', readonly upstream: string, readonly reason: AnonymousReason }
  | RejectedEvent
  | Context & { readonly event: 'replayed', readonly upstream: string, readonly status: number, readonly outcome: ReplayOutcome }
  | RefreshEvent
  | Context & { readonly event: 'failed', readonly upstream: string, readonly code: ErrorCode, readonly reason: string }
  | { readonly event: 'state_failed', readonly principal: string, readonly upstream: string, readonly reason: string }
  | { readonly event: 'internal_error', readonly request_id?: string, readonly reason: string }

/** The upstream refused a credential. */
export interface RejectedEvent extends Context {
  readonly event: 'rejected'
  readonly upstream: string
  readonly status: number
  readonly token: string
  /** The upstream's own `error` parameter (RFC 6750 §3.1) where it is one of the registered ones. */
  readonly reason: string
  /** Whether a renewal and a replay are tried now. */
  readonly replay: boolean
}

export interface RefreshEvent extends Context {
  readonly event: 'refresh'
  readonly principal: string
  readonly upstream: string
  readonly type: CredentialConfig['type']
  readonly trigger: RefreshTrigger
  readonly outcome: RefreshOutcome
  /** Milliseconds. */
  readonly duration: number
  readonly token?: string
  readonly previous?: string
  /** Seconds the new token lives. */
  readonly expires_in?: number
  readonly reason?: string
  /** Seconds until the next attempt. */
  readonly retry_in?: number
}

/** One call has come to its end. Durations in milliseconds. */
/* Made of one literal, for each call: fields that do not apply are undefined. */
export interface CallEvent {
  readonly event: 'call'
  readonly principal: string | undefined
  readonly agent: string | undefined
  readonly tool: string | undefined
  readonly attempt: number
  readonly request_id: string
  readonly upstream: string
  readonly method: string
  readonly rpc_method: string
  readonly status: number
  readonly outcome: CallOutcome
  readonly code: ErrorCode | undefined
  readonly refreshed: boolean
  /** From the call's arrival to the first byte of the answer; undefined where no answer began. */
  readonly first_byte: number | undefined
  /** The part of it that the sidecar itself took, undefined as above. */
  readonly overhead: number | undefined
  /** One wait for response headers an attempt. */
  readonly upstream_waits: readonly number[]
}

export type Emit = (event: ValetEvent) => void

/** How the credentials of one upstream stand, counted afresh whenever metrics are scraped. */
export interface CredentialCensus {
  readonly upstream: string
  readonly states: Readonly<Record<CredentialState, number>>
  /** Seconds until the first of them expires. */
  readonly soonest: number | undefined
}
