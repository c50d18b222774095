import type { SecretRef } from './secret-place.js'

/** A credential of the config in memory, as `Config` is: every default filled in. */
export type CredentialConfig =
  | ApiTokenConfig
  | RefreshTokenConfig
  | ClientCredentialsConfig
  | JsonRefreshConfig
  | TokenExchangeConfig
  | JwtBearerConfig
  | SignedJwtConfig
  | CommandConfig
  | CustomCredentialConfig

export interface ApiTokenConfig {
  readonly type: 'api_token'
  readonly token: SecretRef
  /** Milliseconds since the epoch, where it was said when the token was put at run time. */
  readonly expiresAt?: number
}

/** Whom to ask for a token, and as which client. */
export interface TokenEndpointConfig {
  /** An authorization server is named by its token endpoint, or by its issuer and then discovered (RFC 8414). */
  readonly tokenEndpoint: URL | undefined
  readonly issuer: URL | undefined
  /** Undefined where nobody has registered the client yet, or the grant needs none (RFC 7521 §4.1, RFC 8693 §2.1). */
  readonly clientId: string | undefined
  readonly clientSecret: SecretRef | undefined
  readonly clientAuth: ClientAuthMethod
  /** When the clientSecret ends, milliseconds since the epoch, where whoever put it said so (RFC 7591 §3.2.1). */
  readonly clientSecretExpiresAt?: number
  /** With `private_key_jwt` only. */
  readonly clientKey?: SigningKeyConfig | undefined
  readonly scope: string | undefined
  /** RFC 8707 resource indicator: the upstream's URL unless the config says otherwise; undefined where none is to be sent. */
  readonly resource: string | undefined
}

export type ClientAuthMethod = 'none' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt'

/** A key that JWTs are signed with: PEM or JWK, or for HS* the secret itself. */
export interface SigningKeyConfig {
  readonly key: SecretRef
  /** The JWT's `kid`; undefined: that of the JWK, if it has one. */
  readonly keyId: string | undefined
  /** Undefined: the key's own. */
  readonly alg: SigningAlgorithm | undefined
}

/** RFC 7518 §3.1, RFC 8037, RFC 9864. */
export const KEY_PAIR_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'] as const
export type KeyPairAlgorithm = typeof KEY_PAIR_ALGORITHMS[number]
export const SIGNING_ALGORITHMS = [...KEY_PAIR_ALGORITHMS, 'HS256', 'HS384', 'HS512'] as const
export type SigningAlgorithm = typeof SIGNING_ALGORITHMS[number]

/** Without a refresh token there is nothing to begin with: somebody logs in, or puts tokens through the admin API. */
export interface RefreshTokenConfig extends TokenEndpointConfig {
  readonly type: 'refresh_token'
  readonly refreshToken: SecretRef | undefined
  readonly accessToken: SecretRef | undefined
  /** Milliseconds since the epoch, where it was said when the token was put at run time. */
  readonly accessTokenExpiresAt?: number
}

export interface ClientCredentialsConfig extends TokenEndpointConfig {
  readonly type: 'client_credentials'
  /** What the issuer calls the service that the token is for: a parameter of its own making, as Auth0 has it. */
  readonly audience: string | undefined
}

/** RFC 8693. Token types are URIs. */
export interface TokenExchangeConfig extends TokenEndpointConfig {
  readonly type: 'token_exchange'
  /** Undefined: the caller's own JWT. */
  readonly subjectToken: SecretRef | undefined
  readonly subjectTokenType: string
  readonly requestedTokenType: string | undefined
  readonly audience: string | undefined
  readonly actorToken: SecretRef | undefined
  readonly actorTokenType: string
}

/** RFC 7523 §2.1. */
export interface JwtBearerConfig extends TokenEndpointConfig {
  readonly type: 'jwt_bearer'
  /** The assertion as somebody else writes it, or what it is made of here. */
  readonly assertion: SecretRef | MintedJwtConfig
}

/** A JWT that is made here. */
export interface MintedJwtConfig extends SigningKeyConfig {
  readonly typ: string
  readonly claims: { readonly [name: string]: unknown }
  readonly lifetimeMs: number
}

export interface SignedJwtConfig extends MintedJwtConfig {
  readonly type: 'signed_jwt'
}

export interface CommandConfig {
  readonly type: 'command'
  /** What the command prints: a token, or JSON with `access_token` and perhaps `expires_in` (seconds). */
  readonly output: SecretRef
}

/** A credential that the code of whoever embeds mcp-valet gets. */
export interface CustomCredentialConfig {
  readonly type: 'custom'
  readonly name: string
  readonly options: JsonTemplate | undefined
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
  /** Milliseconds since the epoch, where it was said when the token was put at run time. */
  readonly accessTokenExpiresAt?: number
  /** JSON Pointers (RFC 6901) into the answer. */
  readonly response: { readonly accessToken: string, readonly refreshToken: string | undefined, readonly expiresIn: string | undefined }
}

export type JsonTemplate = string | number | boolean | null | SecretRef | readonly JsonTemplate[] | { readonly [key: string]: JsonTemplate }
