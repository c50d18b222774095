import type { CredentialConfig, TokenExchangeConfig } from './credential-config.js'
import type { CompleteCredential } from './given-credential.js'
import type { JwtCallersConfig } from './jwt-config.js'
import type { Written } from './position.js'
import type { RawCredential } from './schema-credential.js'
import type { SecretRef } from './secret-place.js'

export * from './credential-config.js'
export * from './secret-place.js'

/**
 * What a checked configuration is in memory: every default filled in, every duration in milliseconds, every size in
 * bytes, every secret still a reference that is read when it is needed, so that a rotated file is picked up.
 */
export interface Config {
  readonly listen: Listen
  /** Without a token the API under /v1 is off. */
  readonly admin: { readonly listen: Listen, readonly token: SecretRef | undefined }
  readonly callers: CallersConfig
  readonly drain: DrainConfig
  readonly state: StateConfig
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>
  readonly principals: ReadonlyMap<string, PrincipalConfig>
  readonly sessions: readonly SessionConfig[]
  /** Completes credentials that are put at run time, by the rules and with the defaults of this config. */
  readonly complete: CompleteCredential
  /** Where a thing is written, for messages; undefined of a config that came from no text. */
  readonly written?: Written
}

/** `host:port` (port 0 picks a free one; an IPv6 host is without its brackets) or `unix:/path.sock`. */
export type Listen = { readonly host: string, readonly port: number } | { readonly socket: string }

/** How long what is under way may take to end when the sidecar stops. */
export interface DrainConfig {
  readonly callsMs: number
  /** Of streams that listen, which have no end of their own. */
  readonly streamsMs: number
}

export interface CallersConfig {
  /** Name of the header that carries a session key, in lower case. */
  readonly header: string
  readonly hosts: readonly string[]
  readonly origins: readonly string[]
  readonly relayAuthorization: boolean
  /** Undefined: callers show session keys, and a JWT says nothing. */
  readonly jwt: JwtCallersConfig | undefined
}

export type StateConfig =
  | { readonly driver: 'memory' }
  | LmdbConfig
  | RedisConfig

export interface LmdbConfig {
  readonly driver: 'lmdb'
  readonly path: string
  /** Without one the folder has a key file of its own. */
  readonly key: SecretRef | undefined
  /** Keys that open what they sealed earlier. */
  readonly previousKeys: readonly SecretRef[]
}

/** Shared by every sidecar with the same `url`, `prefix` and `key`. */
export interface RedisConfig {
  readonly driver: 'redis'
  readonly url: SecretRef
  /** What every key there begins with. */
  readonly prefix: string
  /** Of a server that is reached by TLS; it is verified in any case. */
  readonly tls: TlsConfig
  readonly key: SecretRef
  readonly previousKeys: readonly SecretRef[]
}

export type AnonymousReason = 'no_principal' | 'refresh_failed'

export interface UpstreamConfig {
  readonly name: string
  readonly url: URL
  /** Where agents reach it, without a trailing slash: `/tools/mcp`. */
  readonly path: string
  /** Header name → template with `{token}`. Names are as written in the config. */
  readonly headers: ReadonlyMap<string, string>
  readonly anonymous: ReadonlySet<AnonymousReason>
  readonly refreshOn: ReadonlySet<number>
  /** Answers with status 200 that refuse the token all the same; none by default. */
  readonly refreshOnAnswer: readonly AnswerPattern[]
  readonly replays: number
  readonly backoff: { readonly baseMs: number, readonly maxMs: number }
  readonly deadlineMs: number
  readonly timeouts: { readonly connectMs: number, readonly headersMs: number, readonly idleMs: number }
  /** Bytes. */
  readonly bodyLimit: number
  readonly tls: TlsConfig
  readonly tools: ToolRules
  /** The defaults of every principal's credential here as the config writes them, for principals that are put at run time. */
  readonly credential: RawCredential | undefined
  /** Those defaults, where they are complete and exchange a caller's own JWT: for principals without a credential of their own here. */
  readonly subjectCredential: TokenExchangeConfig | undefined
}

/**
 * Members that a JSON-RPC answer has, and their values: `{ error: { code: 401 } }`. Of a map only the members that are
 * named count, of a list all items.
 */
export type AnswerPattern = Readonly<Record<string, unknown>>

/** Globs of tool names; deny wins. */
export interface ToolRules {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

/** PEM material; `ca` and `cert` may be paths as they are no secrets, which a reference of type `file` stands for. */
export interface TlsConfig {
  readonly ca: SecretRef | undefined
  readonly cert: SecretRef | undefined
  readonly key: SecretRef | undefined
  readonly serverName: string | undefined
}

export interface PrincipalConfig {
  readonly id: string
  /** By upstream name; an upstream that is not named has no credential of this principal. */
  readonly credentials: ReadonlyMap<string, CredentialConfig>
  readonly tools: ToolRules | undefined
}

export interface SessionConfig {
  readonly principal: string
  readonly agent: string
  readonly key: SecretRef
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | undefined
  readonly tools: ToolRules | undefined
}
