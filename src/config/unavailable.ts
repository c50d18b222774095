import type { Finding, Path } from './problem.js'
import { at, isMap, listAt, mapAt, type RawMap } from './raw.js'

/** A part of the config that a later version will understand. What is at or below `within` needs no further finding. */
interface Unavailable extends Finding {
  readonly within: Path
}

const LATER_CREDENTIALS = ['token_exchange', 'jwt_bearer', 'signed_jwt', 'command']

/**
 * Parts of the documented config that are not built yet. Each is refused, as a policy or a driver that is silently
 * ignored is worse than none. A row here goes away with the version that builds the part.
 */
export function unavailableParts (raw: unknown): Unavailable[] {
  return [
    ...present(raw, ['callers', 'jwt'], 'callers that identify themselves by a JWT (use sessions)'),
    ...members(raw, 'upstreams').flatMap(([path, upstream]) => [
      ...toolPolicy(upstream, path), ...credential(at(upstream, 'credential'), [...path, 'credential']),
    ]),
    ...members(raw, 'principals').flatMap(([path, principal]) => [
      ...toolPolicy(principal, path),
      ...Object.entries(mapAt(principal, 'credentials')).flatMap(([name, value]) => credential(value, [...path, 'credentials', name])),
    ]),
    ...listAt(raw, 'sessions').flatMap((session, index) => toolPolicy(session, ['sessions', index])),
  ]
}

function present (raw: unknown, [parent, key]: readonly [string, string], what: string): Unavailable[] {
  return at(mapAt(raw, parent), key) === undefined ? [] : [unavailable([parent, key], what)]
}

function toolPolicy (owner: unknown, path: Path): Unavailable[] {
  const policy = at(owner, 'tools')
  if (policy === undefined) return []
  const { allow = ['*'], deny = [], ...rest } = isMap(policy) ? policy : { rest: policy }
  const isDefault = JSON.stringify([allow, deny, rest]) === '[["*"],[],{}]'
  return isDefault ? [] : [unavailable([...path, 'tools'], 'tool policies other than { allow: ["*"], deny: [] }')]
}

function credential (value: unknown, path: Path): Unavailable[] {
  const type = LATER_CREDENTIALS.find((later) => later === at(value, 'type'))
  if (type !== undefined) return [{ ...unavailable([...path, 'type'], `credentials of type ${type}`), within: path }]
  if (at(value, 'client_auth') !== 'private_key_jwt') return []
  return [unavailable([...path, 'client_auth'], 'client_auth private_key_jwt (use client_secret_basic or client_secret_post)')]
}

function unavailable (path: Path, what: string): Unavailable {
  return { path, within: path, message: `not available in this version of mcp-valet: ${what}` }
}

function members (raw: unknown, key: string): Array<[path: Path, value: RawMap]> {
  return Object.entries(mapAt(raw, key)).flatMap(([name, value]) => isMap(value) ? [[[key, name], value]] : [])
}
