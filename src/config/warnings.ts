import { isSecretRef, type Config, type CredentialConfig } from './config.js'
import { isLocal } from './listen.js'
import { formatPath, type Finding, type Path } from './problem.js'
import { mapAt, readable, textAt } from './raw.js'
import { isLoopback } from './url.js'

/**
 * What works, and is likely not what the operator wants.
 * @param raw tells where a thing is written
 * @param now milliseconds since the epoch
 */
export function warningsOf (raw: unknown, config: Config, now = Number.NEGATIVE_INFINITY): Finding[] {
  const findings: Finding[] = []
  if (!isLocal(config.listen) && config.callers.hosts.length === 0) {
    findings.push({ path: ['listen'], message: 'other machines can connect, and their calls are refused until the names they use are listed under callers.hosts' })
  }
  if (!isLocal(config.admin.listen)) {
    findings.push({ path: ['admin', 'listen'], message: 'other machines can read health and metrics, which ask for no credential' })
  }
  const keys: Path = ['callers', 'jwt', config.callers.jwt?.jwksUri === undefined ? 'issuer' : 'jwks_uri']
  if (isPlain(textOf(raw, keys))) findings.push({ path: keys, message: 'plain http: whoever is on the way can put keys of their own there, and with them be any caller' })
  findings.push(...subjectless(config), ...embedded(config), ...shared(config), ...over(config, now))
  return [...findings, ...plainAddresses(raw).map((path) => ({ path, message: 'plain http: tokens cross the network unencrypted' }))]
}

/** Assertions that some issuers take without a subject, although RFC 7523 §3 asks for one. */
function subjectless (config: Config): Finding[] {
  return [...config.principals.values()].flatMap(({ id, credentials }) => [...credentials].flatMap(([upstream, credential]) => {
    if (credential.type !== 'jwt_bearer' || isSecretRef(credential.assertion) || Object.hasOwn(credential.assertion.claims, 'sub')) return []
    return [{ path: ['principals', id, 'credentials', upstream, 'claims'], message: 'names no sub, which RFC 7523 asks for: most issuers refuse an assertion without one' }]
  }))
}

/** What the command has no code for. */
function embedded (config: Config): Finding[] {
  return [...config.principals.values()].flatMap(({ id, credentials }) => [...credentials].flatMap(([upstream, { type }]) =>
    type === 'custom' ? [{ path: ['principals', id, 'credentials', upstream, 'type'], message: 'is for those who embed mcp-valet: `mcp-valet serve` has no code for it and does not start with it' }] : []))
}

/** Refresh tokens that two credentials would spend, each without knowing of the other. */
function shared (config: Config): Finding[] {
  const first = new Map<string, Path>()
  return [...config.principals.values()].flatMap(({ id, credentials }) => [...credentials].flatMap(([upstream, credential]) => {
    const spent = spentBy(credential)
    if (spent === undefined) return []
    const path: Path = ['principals', id, 'credentials', upstream, 'refresh_token']
    const other = first.get(spent)
    if (other === undefined) first.set(spent, path)
    return other === undefined ? [] : [{ path, message: `is the same as ${formatPath(other)}: an issuer that gives a new refresh token for each that is used takes the second use for a theft, and ends both. Log in once for each, or put what needs one login behind one upstream` }]
  }))
}

/** Which refresh token is spent, and where; by where it is kept, as nobody reads it for this. */
function spentBy (credential: CredentialConfig): string | undefined {
  if (credential.type !== 'refresh_token' && credential.type !== 'json_refresh') return undefined
  const at = credential.type === 'json_refresh' ? credential.url : credential.tokenEndpoint ?? credential.issuer
  return credential.refreshToken?.place === undefined ? undefined : JSON.stringify([at?.href, credential.refreshToken.place])
}

/** Sessions that have ended before they begin. */
function over ({ sessions }: Config, now: number): Finding[] {
  return sessions.flatMap(({ expiresAt }, index) => expiresAt !== undefined && expiresAt <= now
    ? [{ path: ['sessions', index, 'expires_at'], message: 'has passed: calls with this key are refused. Give it a later one, or take the session out' }]
    : [])
}

/** Where an address is written that tokens go to without TLS, unless they stay on this machine. */
function plainAddresses (raw: unknown): Path[] {
  const upstreams = mapAt(raw, 'upstreams')
  const principals = mapAt(raw, 'principals')
  const credentials = [
    ...Object.keys(upstreams).map((name): Path => ['upstreams', name, 'credential']),
    ...Object.keys(principals).flatMap((name) =>
      Object.keys(mapAt(mapAt(principals, name), 'credentials')).map((upstream): Path => ['principals', name, 'credentials', upstream])),
  ]
  const places = [
    ...Object.keys(upstreams).map((name): Path => ['upstreams', name, 'url']),
    ...credentials.flatMap((path) => ['token_endpoint', 'issuer', 'url'].map((key): Path => [...path, key])),
  ]
  return places.filter((path) => isPlain(textOf(raw, path)))
}

function textOf (raw: unknown, path: Path): string | undefined {
  const parent = path.slice(0, -1).reduce<unknown>((value, key) => mapAt(value, String(key)), raw)
  return textAt(parent, String(path.at(-1)))
}

function isPlain (text: string | undefined): boolean {
  const url = readable(text, (written) => new URL(written))
  return url?.protocol === 'http:' && !isLoopback(url.hostname)
}
