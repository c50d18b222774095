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

/**
 * The scope to ask for as a client that was registered for this much, and for no more (RFC 7591 §3.2.1): an issuer refuses
 * the whole login for a word beyond it. What a person named stays, and is for the issuer to answer.
 * @returns `dropped`: the words that are left out
 */
export function scopeOf (wanted: string | undefined, named: string | undefined, registered: string | undefined): { readonly scope: string | undefined, readonly dropped: readonly string[] } {
  if (wanted === undefined || registered === undefined) return { scope: wanted, dropped: [] }
  const may = new Set([...registered.split(' '), ...named?.split(' ') ?? []])
  const words = wanted.split(' ')
  const kept = words.filter((word) => may.has(word))
  return { scope: kept.length === 0 ? undefined : kept.join(' '), dropped: words.filter((word) => !may.has(word)) }
}

export function asksOffline (scope: string | undefined): boolean {
  return scope?.split(' ').includes(OFFLINE) === true
}
