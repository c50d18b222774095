import type { Finding, Path } from './problem.js'
import { at, isMap, listAt, mapAt, type RawMap } from './raw.js'

/** A part of the config that a later version will understand. What is at or below `within` needs no further finding. */
interface Unavailable extends Finding {
  readonly within: Path
}

/**
 * Parts of the documented config that are not built yet. Each is refused, as a policy or a driver that is silently
 * ignored is worse than none. A row here goes away with the version that builds the part.
 */
export function unavailableParts (raw: unknown): Unavailable[] {
  return [
    ...present(raw, ['callers', 'jwt'], 'callers that identify themselves by a JWT (use sessions)'),
    ...present(raw, ['state', 'url'], 'state in Redis (use driver: lmdb)'),
    ...at(mapAt(raw, 'state'), 'driver') === 'redis' ? [unavailable(['state', 'driver'], 'state in Redis (use driver: lmdb)')] : [],
    ...members(raw, 'upstreams').flatMap(([path, upstream]) => toolPolicy(upstream, path)),
    ...members(raw, 'principals').flatMap(([path, principal]) => toolPolicy(principal, path)),
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

function unavailable (path: Path, what: string): Unavailable {
  return { path, within: path, message: `not available in this version of mcp-valet: ${what}` }
}

function members (raw: unknown, key: string): Array<[path: Path, value: RawMap]> {
  return Object.entries(mapAt(raw, key)).flatMap(([name, value]) => isMap(value) ? [[[key, name], value]] : [])
}
