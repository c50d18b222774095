import type { Secret } from '../secret.js'
import type { RawCredential } from './schema-credential.js'

/**
 * What a checked configuration is in memory: every default filled in, every duration in milliseconds, every size in
 * bytes, every secret still a reference that is read when it is needed, so that a rotated file is picked up.
 */
export interface Config {
  readonly listen: Listen
  /** Without a token the API under /v1 is off. */
  readonly admin: { readonly listen: Listen, readonly token: SecretRef | undefined }
  readonly callers: CallersConfig
  readonly state: StateConfig
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>
  readonly principals: ReadonlyMap<string, PrincipalConfig>
  readonly sessions: readonly SessionConfig[]
}

/** `host:port` (port 0 picks a free one; an IPv6 host is without its brackets) or `unix:/path.sock`. */
export type Listen = { readonly host: string, readonly port: number } | { readonly socket: string }

export interface CallersConfig {
  /** Name of the header that carries a session key, in lower case. */
  readonly header: string
  readonly hosts: readonly string[]
  readonly origins: readonly string[]
  readonly relayAuthorization: boolean
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
}

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

export type CredentialConfig =
  | ApiTokenConfig
  | RefreshTokenConfig
  | ClientCredentialsConfig
  | JsonRefreshConfig

export interface ApiTokenConfig {
  readonly type: 'api_token'
  readonly token: SecretRef
}

/** An authorization server is named by its token endpoint, or by its issuer and then discovered (RFC 8414). */
export interface OAuthClientConfig {
  readonly tokenEndpoint: URL | undefined
  readonly issuer: URL | undefined
  readonly clientId: string
  readonly clientSecret: SecretRef | undefined
  readonly clientAuth: 'none' | 'client_secret_basic' | 'client_secret_post'
  readonly scope: string | undefined
  /** RFC 8707 resource indicator; the upstream's URL unless the config says otherwise. */
  readonly resource: string
}

export interface RefreshTokenConfig extends OAuthClientConfig {
  readonly type: 'refresh_token'
  readonly refreshToken: SecretRef
  readonly accessToken: SecretRef | undefined
}

export interface ClientCredentialsConfig extends OAuthClientConfig {
  readonly type: 'client_credentials'
}

/** A product's own refresh endpoint, which speaks JSON but no OAuth. */
export interface JsonRefreshConfig {
  readonly type: 'json_refresh'
  readonly url: URL
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'GET'
  /** Values are templates with `{refresh_token}` and `{access_token}`, or references to further secrets. */
  readonly body: JsonTemplate | undefined
  readonly headers: ReadonlyMap<string, string | SecretRef>
  readonly refreshToken: SecretRef | undefined
  readonly accessToken: SecretRef | undefined
  /** JSON Pointers (RFC 6901) into the answer. */
  readonly response: { readonly accessToken: string, readonly refreshToken: string | undefined, readonly expiresIn: string | undefined }
}

export type JsonTemplate = string | number | boolean | null | SecretRef | readonly JsonTemplate[] | { readonly [key: string]: JsonTemplate }

/** Where a secret is kept. `read` goes there each time it is called. */
export interface SecretRef {
  /** `env NAME`, `file PATH` or `command ARGV0`: for messages and for the masked config; no secret. */
  readonly source: string
  /**
   * @throws {SecretRefError} where there is nothing, or nothing that may be used: the message says what to do, and
   * never holds a value.
   */
  read (): Promise<Secret>
}
