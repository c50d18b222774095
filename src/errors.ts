/**
 * The one table of what the sidecar itself answers: stable code → HTTP status, JSON-RPC code and the sentence an agent
 * or its operator reads. Clients branch on `data.code`, so a code that has been released keeps its meaning for ever.
 *
 * JSON-RPC codes stay in -32000…-32019, which JSON-RPC leaves to implementations and MCP has not taken; what MCP has a code for
 * of its own has that one (HeaderMismatch: -32020, MCP 2026-07-28, transports).
 */
export const ERRORS = {
  ERR_SESSION_REQUIRED: {
    status: 401,
    rpc: -32001,
    message: 'A session key, or a JWT where callers.jwt is set, is required: send it as X-Session-Key, or the header that callers.header names, or as Authorization: Bearer …',
  },
  ERR_SESSION_UNKNOWN: {
    status: 401,
    rpc: -32001,
    message: 'This session key or JWT is not accepted here, or was revoked: ask the operator of mcp-valet for another one.',
  },
  ERR_SESSION_EXPIRED: {
    status: 401,
    rpc: -32001,
    message: 'This session has expired: ask the operator of mcp-valet for a new session key, or your issuer for a new JWT.',
  },
  ERR_ISSUER_UNAVAILABLE: {
    status: 503,
    rpc: -32006,
    message: 'This JWT cannot be checked at the moment, as its issuer does not give its keys: try again after the time in Retry-After.',
  },
  ERR_HOST_REFUSED: {
    status: 403,
    rpc: -32002,
    message: 'This Host is not served here: call mcp-valet by a loopback name, or list the name under callers.hosts.',
  },
  ERR_ORIGIN_REFUSED: {
    status: 403,
    rpc: -32002,
    message: 'Calls from this browser Origin are refused: list it under callers.origins if it is meant to call.',
  },
  ERR_REQUEST_INVALID: {
    status: 400,
    rpc: -32600,
    message: 'The request is malformed: its headers or its path cannot be passed on safely.',
  },
  ERR_REQUEST_TIMEOUT: {
    status: 408,
    rpc: -32017,
    message: 'The request did not arrive in time.',
  },
  ERR_NOT_FOUND: {
    status: 404,
    rpc: -32004,
    message: 'Nothing is served at this path for this method: check the upstream\'s path in the config of mcp-valet. A client that looks for a login here has had its session key refused.',
  },
  ERR_SESSION_MISMATCH: {
    status: 404,
    rpc: -32008,
    message: 'This MCP session was not opened by this agent, or under a state key that is not used any more: send initialize again.',
  },
  ERR_CREDENTIAL_MISSING: {
    status: 403,
    rpc: -32003,
    message: 'The principal of this session has no credential for this upstream: add one under principals.<id>.credentials.',
  },
  ERR_BODY_TOO_LARGE: {
    status: 413,
    rpc: -32005,
    message: 'The request body is larger than this upstream\'s body_limit: send less, or raise it in the config of mcp-valet.',
  },
  ERR_BODY_INVALID: {
    status: 400,
    rpc: -32700,
    message: 'The request could not be read as JSON-RPC: send plain JSON in UTF-8, each member once.',
  },
  ERR_HEADER_MISMATCH: {
    status: 400,
    rpc: -32020,
    message: 'Header mismatch: Mcp-Method and Mcp-Name must say what the body says, or be left out where the body is no single message.',
  },
  ERR_UPSTREAM_UNAUTHORIZED: {
    status: 502,
    rpc: -32010,
    message: 'The MCP server still refuses the credential after it was refreshed: its operator must check the account.',
  },
  ERR_CREDENTIAL_UNAVAILABLE: {
    status: 503,
    rpc: -32011,
    message: 'There is no usable token at the moment and refreshing it failed: try again after the time in Retry-After.',
  },
  ERR_CREDENTIAL_REVOKED: {
    status: 502,
    rpc: -32012,
    message: 'The authorization server no longer accepts this principal\'s grant: somebody must log in again.',
  },
  ERR_UPSTREAM_UNREACHABLE: {
    status: 502,
    rpc: -32013,
    message: 'The MCP server cannot be reached, or broke off before it answered and may have carried out the call: check that it runs, and its url in the config of mcp-valet.',
  },
  ERR_UPSTREAM_TIMEOUT: {
    status: 504,
    rpc: -32014,
    message: 'The MCP server did not answer in time and may still be at work: if it needs longer, raise timeouts of this upstream.',
  },
  ERR_UPSTREAM_INVALID: {
    status: 502,
    rpc: -32015,
    message: 'The MCP server sent an answer that is not valid HTTP, or that a tool policy must read and cannot: the log says which.',
  },
  ERR_STATE_UNAVAILABLE: {
    status: 503,
    rpc: -32018,
    message: 'The state that sidecars share cannot be read at the moment, so this session key cannot be looked up: try again after the time in Retry-After.',
  },
  ERR_OVERLOADED: {
    status: 503,
    rpc: -32019,
    message: 'mcp-valet holds as much for the calls of its agents as its memory has room for: try again after the time in Retry-After, with fewer or smaller calls at once.',
  },
  ERR_SHUTTING_DOWN: {
    status: 503,
    rpc: -32016,
    message: 'mcp-valet is shutting down: try again on another instance.',
  },
  ERR_INTERNAL: {
    status: 500,
    rpc: -32603,
    message: 'mcp-valet failed on this call; its log says why under this request_id.',
  },
} as const satisfies Record<string, { status: number, rpc: number, message: string }>

export type ErrorCode = keyof typeof ERRORS

/** Why a call is answered by the sidecar instead of its upstream. Carries nothing that an agent may not see. */
export class ValetError extends Error {
  readonly code: ErrorCode
  /** Seconds, for `Retry-After`. */
  readonly retryAfter: number | undefined

  /** @param cause what went wrong inside; it is logged, and never sent */
  constructor (code: ErrorCode, options: { cause?: unknown, retryAfter?: number } = {}) {
    super(ERRORS[code].message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ValetError'
    this.code = code
    this.retryAfter = options.retryAfter
  }

  get status (): number {
    return ERRORS[this.code].status
  }
}
