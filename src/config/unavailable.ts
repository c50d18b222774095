import type { Finding, Path } from './problem.js'
import { at, mapAt } from './raw.js'

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
    ...present(raw, ['state', 'url'], 'state in Redis (use driver: lmdb)'),
    ...at(mapAt(raw, 'state'), 'driver') === 'redis' ? [unavailable(['state', 'driver'], 'state in Redis (use driver: lmdb)')] : [],
  ]
}

function present (raw: unknown, [parent, key]: readonly [string, string], what: string): Unavailable[] {
  return at(mapAt(raw, parent), key) === undefined ? [] : [unavailable([parent, key], what)]
}

function unavailable (path: Path, what: string): Unavailable {
  return { path, within: path, message: `not available in this version of mcp-valet: ${what}` }
}
