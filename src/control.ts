import type { CredentialConfig, ToolRules } from './config/config.js'
import type { CredentialState } from './credential/credential.js'
import type { Secret } from './secret.js'

/**
 * What an owner may do with a running sidecar: the same for the admin API, the commands and `import 'mcp-valet'`.
 * Times in milliseconds since the epoch. Methods throw a `ControlError`.
 */
export interface Control {
  readonly sessions: Sessions
  readonly principals: PrincipalRegister
  readonly credentials: Credentials
}

/** The sessions of all agents: those of the config, and those that are made at run time. */
export interface Sessions {
  /**
   * Opens a session for an agent; it is kept in the state, so it outlives the process.
   * @param asked a session without `ttlMs` has no end; without `tools` it may call what its principal may
   * @returns the key too: the only time that it is to be had
   */
  create (asked: { principal: string, agent: string, tools?: ToolRules, ttlMs?: number }): Promise<SessionInfo & { readonly key: Secret }>
  /** Its next call is refused and its open streams end. @returns false where there is no such session */
  revoke (id: string): Promise<boolean>
  list (): SessionInfo[]
}

export interface SessionInfo {
  readonly id: string
  readonly principal: string
  readonly agent: string
  readonly tools: ToolRules | undefined
  readonly expiresAt: number | undefined
  /** Where it comes from: one of the config ends with the config only. */
  readonly source: 'config' | 'api'
}

/** The principals of the config, and those that a product registers when its users log in. */
export interface PrincipalRegister {
  /**
   * Registers a principal or replaces what was registered for it. Each of its sessions uses the new credentials from its
   * next call on. What the config says of the same principal stays, but for the upstreams that are named here.
   */
  put (id: string, given: GivenPrincipal): Promise<PrincipalInfo>
  /** As `put`, for one upstream: what was put for others stays. */
  putCredential (id: string, upstream: string, given: GivenCredential): Promise<PrincipalInfo>
  /** Takes back what `put` gave, and ends the sessions that are left without a principal. @returns false where nothing was put */
  delete (id: string): Promise<boolean>
  list (): PrincipalInfo[]
}

export interface GivenPrincipal {
  readonly tools?: ToolRules
  /** By upstream name. */
  readonly credentials: Readonly<Record<string, GivenCredential>>
}

/** A credential as the admin API takes it: the keys of the config, over the upstream's defaults, with values for secrets. */
export interface GivenCredential {
  readonly type?: string
  readonly token?: string
  readonly access_token?: string
  /** Seconds that the access token still lives; where it is a JWT its own `exp` counts. */
  readonly expires_in?: number
  readonly refresh_token?: string
  readonly token_endpoint?: string
  readonly issuer?: string
  readonly client_id?: string
  readonly client_secret?: string
  /** When the client_secret ends, seconds since the epoch; 0 where it does not (RFC 7591 §3.2.1). */
  readonly client_secret_expires_at?: number
  readonly client_auth?: string
  readonly scope?: string
  readonly resource?: string
  /** Of `client_credentials`. */
  readonly audience?: string
}

export interface PrincipalInfo {
  readonly id: string
  readonly tools: ToolRules | undefined
  /** `both`: the config names it, and some of its credentials were put at run time. */
  readonly source: 'config' | 'api' | 'both'
  /** Names of the upstreams that it has a credential for. */
  readonly upstreams: readonly string[]
}

/** The credentials of all principals, without their values. */
export interface Credentials {
  list (): CredentialInfo[]
  /** Renews one now, whatever its expiry. @throws {ControlError} `ERR_REFRESH_FAILED` with the reason where that fails */
  refresh (principal: string, upstream: string): Promise<CredentialInfo>
}

export interface CredentialInfo {
  readonly principal: string
  readonly upstream: string
  readonly type: CredentialConfig['type']
  readonly state: CredentialState
  readonly source: 'config' | 'api'
  readonly expiresAt: number | undefined
  readonly refreshedAt: number | undefined
  /** Fingerprint of the access token that is held. */
  readonly token: string | undefined
  /** Why the last renewal failed, if it did. */
  readonly error: string | undefined
}

/** The one table of what the admin API answers where it does not do what it was asked: stable code → HTTP status and sentence. */
export const CONTROL_ERRORS = {
  ERR_ADMIN_UNAUTHORIZED: { status: 401, message: 'This needs Authorization: Bearer with the admin token: the one that admin.token in the config points at.' },
  ERR_ADMIN_OFF: { status: 404, message: 'The admin API is off: set admin.token in the config of mcp-valet to turn it on.' },
  ERR_ADMIN_UNAVAILABLE: { status: 503, message: 'The admin token cannot be read where admin.token in the config points; the log of mcp-valet says why.' },
  ERR_HOST_REFUSED: { status: 403, message: 'This Host is not served here: call the admin API by a loopback name, or list the name under callers.hosts.' },
  ERR_ORIGIN_REFUSED: { status: 403, message: 'The admin API is for no web page but its own: requests with a foreign Origin are refused.' },
  ERR_REQUEST_INVALID: { status: 400, message: 'The request is not what this route takes; details says where.' },
  ERR_BODY_TOO_LARGE: { status: 413, message: 'The request body is larger than 256 KiB.' },
  ERR_REQUEST_TIMEOUT: { status: 408, message: 'The request did not arrive in time.' },
  ERR_NOT_FOUND: { status: 404, message: 'There is no such thing here.' },
  ERR_METHOD_NOT_ALLOWED: { status: 405, message: 'This path does not take this method; the header Allow names those that it takes.' },
  ERR_PRINCIPAL_UNKNOWN: { status: 404, message: 'There is no such principal: name it in the config, or put it with PUT /v1/principals/{id} first.' },
  ERR_CONFIGURED: { status: 409, message: 'This comes from the config: change it there.' },
  ERR_TOO_MANY_WATCHERS: { status: 503, message: 'As many as may watch at once do so already: close a status page elsewhere.' },
  ERR_REFRESH_FAILED: { status: 502, message: 'The credential could not be renewed; details says why.' },
  ERR_STATE_UNAVAILABLE: { status: 503, message: 'The state store refuses, so nothing was saved; details says why.' },
  ERR_INTERNAL: { status: 500, message: 'mcp-valet failed on this request; its log says why under this request_id.' },
} as const satisfies Record<string, { status: number, message: string }>

export type ControlErrorCode = keyof typeof CONTROL_ERRORS

/** One thing that is wrong with a request: where in it, and what to do. */
export interface Detail { readonly path: string, readonly message: string }

/** Why something was not done for an owner. Holds no secret. */
export class ControlError extends Error {
  readonly code: ControlErrorCode
  readonly details: readonly Detail[]

  constructor (code: ControlErrorCode, details: readonly Detail[] = [], options?: ErrorOptions) {
    super([CONTROL_ERRORS[code].message, ...details.map(({ path, message }) => `${path === '' ? '' : `${path}: `}${message}`)].join(' '), options)
    this.name = 'ControlError'
    this.code = code
    this.details = details
  }

  get status (): number {
    return CONTROL_ERRORS[this.code].status
  }
}
