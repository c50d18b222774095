import type { AuthorizationServer } from 'oauth4webapi'

const OFFLINE = 'offline_access'

/**
 * The scope to ask for. What a person named counts, or else what the upstream named (the order of the MCP authorization
 * specification: its challenge, then its metadata); and `offline_access` besides where the issuer knows it, since many
 * issuers give a refresh token for that alone (OpenID Connect Core §11).
 */
export function scopeToAsk (named: string | undefined, upstreams: string | undefined, server: AuthorizationServer): string | undefined {
  const base = named ?? upstreams
  const known: unknown = server.scopes_supported
  if (!Array.isArray(known) || !known.includes(OFFLINE) || asksOffline(base)) return base
  return base === undefined ? OFFLINE : `${base} ${OFFLINE}`
}

export function asksOffline (scope: string | undefined): boolean {
  return scope?.split(' ').includes(OFFLINE) === true
}
