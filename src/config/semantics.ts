import { claimsFindings } from './claims.js'
import { credentialFindings, mergeCredential } from './credential.js'
import { exchangeFindings, exchangesNothing, NO_SUBJECT } from './exchange.js'
import { jsonRefreshFindings, repeatedHeaders, unfilledPlaceholders } from './json-refresh.js'
import { collides, DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, readListen } from './listen.js'
import { mountFindings } from './mounts.js'
import type { Finding, Path } from './problem.js'
import { at, isMap, listAt, mapAt, type RawMap, readable, textAt } from './raw.js'
import { refusingAnswerFindings } from './refusing-answers.js'
import { nearest } from './sentences.js'
import { parseDuration } from './units.js'
import { readIssuer } from './url.js'

export const DEFAULT_REDIS_PREFIX = 'mcp-valet:'

/**
 * Everything that takes more than one value to see. Runs on a config of any shape, beside the schema's findings.
 */
export function semanticFindings (raw: unknown): Finding[] {
  const upstreams = mapAt(raw, 'upstreams')
  return [
    ...listenFindings(raw),
    ...jwtFindings(mapAt(mapAt(raw, 'callers'), 'jwt')),
    ...stateFindings(mapAt(raw, 'state')),
    ...mountFindings(upstreams),
    ...Object.keys(upstreams).flatMap((name) => upstreamFindings(mapAt(upstreams, name), ['upstreams', name])),
    ...Object.keys(mapAt(raw, 'principals')).flatMap((name) => principalFindings(raw, name)),
    ...exchangeFindings(raw),
    ...sessionFindings(raw),
  ]
}

function listenFindings (raw: unknown): Finding[] {
  const proxy = readable(textAt(raw, 'listen') ?? DEFAULT_LISTEN, readListen)
  const admin = readable(textAt(mapAt(raw, 'admin'), 'listen') ?? DEFAULT_ADMIN_LISTEN, readListen)
  if (proxy === undefined || admin === undefined || !collides(proxy, admin)) return []
  return [{ path: ['admin', 'listen'], message: 'must be another address than listen' }]
}

/** Which keys mean something with which driver. */
const STATE_KEYS: Readonly<Record<string, readonly string[]>> = {
  memory: [],
  lmdb: ['path', 'key', 'previous_keys'],
  redis: ['url', 'prefix', 'tls', 'key', 'previous_keys'],
}

function stateFindings (state: RawMap): Finding[] {
  const driver = at(state, 'driver') ?? 'lmdb'
  const known = typeof driver === 'string' && Object.hasOwn(STATE_KEYS, driver) ? STATE_KEYS[driver] as readonly string[] : undefined
  if (known === undefined) return []
  const useless = Object.values(STATE_KEYS).flat().filter((key) => !known.includes(key) && at(state, key) !== undefined)
  return [
    ...[...new Set(useless)].map((key) => ({ path: ['state', key], message: `has no meaning with driver: ${String(driver)}` })),
    ...driver === 'redis' ? redisFindings(state) : [],
    ...tlsFindings(mapAt(state, 'tls'), ['state', 'tls']),
  ]
}

function redisFindings (state: RawMap): Finding[] {
  const findings: Finding[] = []
  if (at(state, 'url') === undefined) findings.push({ path: ['state', 'url'], message: 'is required with driver: redis, such as { env: REDIS_URL }' })
  if (at(state, 'key') === undefined) findings.push({ path: ['state', 'key'], message: 'is required with driver: redis, and the same for every sidecar that shares it: none could open what another has sealed. Make one with: openssl rand -base64 32' })
  return findings
}

/** Where its metadata is follows from the issuer, which has to be a URL then; where nobody looks for it any text will do. */
function jwtFindings (jwt: RawMap): Finding[] {
  const issuer = textAt(jwt, 'issuer')
  if (issuer === undefined || at(jwt, 'jwks_uri') !== undefined || readable(issuer, readIssuer) !== undefined) return []
  return [{ path: ['callers', 'jwt', 'issuer'], message: 'must be a URL that starts with http:// or https://, without a query, or jwks_uri must be given' }]
}

function upstreamFindings (upstream: RawMap, path: Path): Finding[] {
  const tls = mapAt(upstream, 'tls')
  const base = readable(textAt(mapAt(upstream, 'backoff'), 'base') ?? '100ms', parseDuration)
  const max = readable(textAt(mapAt(upstream, 'backoff'), 'max') ?? '2s', parseDuration)
  const isPlain = /^http:/i.test(textAt(upstream, 'url') ?? '')
  const findings: Finding[] = [
    ...repeatedHeaders(mapAt(upstream, 'headers'), [...path, 'headers']),
    ...refusingAnswerFindings(upstream, path),
    ...jsonRefreshFindings(at(upstream, 'credential'), [...path, 'credential']),
    ...claimsFindings(at(upstream, 'credential'), [...path, 'credential']),
  ]
  if (Object.keys(mapAt(upstream, 'headers')).length === 0 && isMap(at(upstream, 'headers'))) findings.push({ path: [...path, 'headers'], message: 'names no header: leave it out for the default' })
  if (base !== undefined && max !== undefined && base > max) findings.push({ path: [...path, 'backoff', 'base'], message: 'must not be longer than backoff.max' })
  if (isPlain && Object.keys(tls).length > 0) findings.push({ path: [...path, 'tls'], message: 'has no meaning for an http: url' })
  return [...findings, ...tlsFindings(tls, [...path, 'tls'])]
}

function tlsFindings (tls: RawMap, path: Path): Finding[] {
  const findings: Finding[] = []
  if (at(tls, 'cert') !== undefined && at(tls, 'key') === undefined) findings.push({ path: [...path, 'key'], message: 'is required beside tls.cert' })
  if (at(tls, 'key') !== undefined && at(tls, 'cert') === undefined) findings.push({ path: [...path, 'cert'], message: 'is required beside tls.key' })
  return findings
}

function principalFindings (raw: unknown, name: string): Finding[] {
  const upstreams = mapAt(raw, 'upstreams')
  const credentials = mapAt(mapAt(mapAt(raw, 'principals'), name), 'credentials')
  return Object.entries(credentials).flatMap(([upstream, own]) => {
    const path = ['principals', name, 'credentials', upstream]
    if (!Object.hasOwn(upstreams, upstream)) return [{ path, message: `there is no such upstream${suggestion(upstream, upstreams)}` }]
    if (!isMap(own)) return []
    const defaults = at(mapAt(upstreams, upstream), 'credential')
    return [
      ...credentialFindings(defaults, own, path),
      ...jsonRefreshFindings(own, path),
      ...claimsFindings(own, path),
      ...unfilledPlaceholders(mergeCredential(defaults, own), path),
      ...exchangesNothing(raw, mergeCredential(defaults, own)) ? [{ path: [...path, 'subject_token'], message: NO_SUBJECT }] : [],
    ]
  })
}

function sessionFindings (raw: unknown): Finding[] {
  const principals = mapAt(raw, 'principals')
  const keys = new Set<string>()
  return listAt(raw, 'sessions').flatMap((session, index) => {
    const findings: Finding[] = []
    const principal = textAt(session, 'principal')
    if (principal !== undefined && !Object.hasOwn(principals, principal)) {
      findings.push({ path: ['sessions', index, 'principal'], message: `there is no such principal${suggestion(principal, principals)}` })
    }
    const key = isMap(at(session, 'key')) ? JSON.stringify(at(session, 'key')) : undefined
    if (key !== undefined && keys.has(key)) findings.push({ path: ['sessions', index, 'key'], message: 'another session has the same key' })
    if (key !== undefined) keys.add(key)
    return findings
  })
}

/** Names what is near, from the config's own names, and not what was written, which could be anything. */
function suggestion (name: string, known: RawMap): string {
  const near = nearest(name, Object.keys(known))
  return near === undefined ? '' : `; did you mean "${near}"?`
}
