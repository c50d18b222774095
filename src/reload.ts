import type { Drafts } from './caller/configured.js'
import type { SessionBook } from './caller/sessions.js'
import type { Clock } from './clock.js'
import { adminTokenWarning } from './config/admin-token.js'
import type { Config } from './config/config.js'
import { ConfigError } from './config/load.js'
import { effectiveConfig } from './config/mask.js'
import { located } from './config/position.js'
import { SecretRefError } from './config/secret-ref.js'
import type { Principals } from './credential/principals.js'
import { checkCustomTypes, type CredentialTypes } from './credential/grants/custom.js'
import { faultOf } from './telemetry/fault.js'

/** Settings that need a restart: what listens stays, and so does the state. */
const LASTING = ['listen', 'admin.listen', 'state'] as const
/** Problems of a config that are told in one line. */
const MOST_PROBLEMS = 5

/** Why the sidecar goes on with the config that it has. */
export class ReloadError extends Error {
  override readonly name = 'ReloadError'
}

export interface Reloadable {
  readonly principals: Principals
  readonly sessions: SessionBook
  readonly types: CredentialTypes
  readonly clock: Clock
}

/** What came of a look at another config. */
export interface Prepared {
  /** Goes on with it, at once; nothing can fail any more then. */
  readonly swap: () => void
  /** Session keys that cannot be used: their sessions keep those that they had. */
  readonly refused: ConfigError | undefined
  /** Of an admin token that is not there: agents are served without it. */
  readonly warning: string | undefined
}

/**
 * Looks whether the sidecar can go on with another config, and prepares it. With the same one, whose secrets have changed,
 * it goes on in any case: one agent's key that is no good is no reason to leave the others without theirs.
 * @throws {ConfigError | ReloadError | SecretRefError | RangeError} where it cannot: nothing has changed
 */
export async function prepareReload (before: Config, next: Config, { principals, sessions, types, clock }: Reloadable): Promise<Prepared> {
  const same = next === before
  const fixed = LASTING.filter((key) => settingOf(before, key) !== settingOf(next, key))
  if (fixed.length > 0) throw new ReloadError(`${fixed.join(', ')} cannot be changed while mcp-valet runs: restart it for that`)
  const warning = await adminTokenWarning(next.admin.token, same)
  const drafts = await sessions.draft(next.sessions, same)
  const refused = drafts.wrong.length === 0 ? undefined : refusalOf(next, drafts)
  if (refused !== undefined && !same) throw refused
  checkCustomTypes(next.principals.values(), clock, types)
  return {
    refused,
    warning,
    swap () {
      // Before a principal goes: what ends with it is revoked for good, and a session of the config may come back.
      sessions.configure(drafts, next.sessions)
      principals.reconfigure(next.principals.values(), next.complete)
    },
  }
}

/** Session keys that cannot be used, as problems of their config. */
export function refusalOf ({ written }: Config, { wrong }: Drafts): ConfigError {
  return new ConfigError(written?.file, located(written, wrong))
}

/** The same in words that may be logged. */
export function reasonOfRefusal (error: unknown): string {
  if (error instanceof ConfigError) {
    const told = error.problems.slice(0, MOST_PROBLEMS).map(({ path, line, message }) => [line === 0 ? '' : `line ${line}`, path, message].filter((part) => part !== '').join(': '))
    const more = error.problems.length - told.length
    return told.join('; ') + (more > 0 ? `; and ${more} more: see mcp-valet check` : '')
  }
  return error instanceof ReloadError || error instanceof SecretRefError || error instanceof RangeError ? error.message : faultOf(error)
}

function settingOf (config: Config, key: typeof LASTING[number]): string {
  const { listen, admin, state } = effectiveConfig(config) as { listen: unknown, admin: { listen: unknown }, state: unknown }
  return JSON.stringify({ listen, 'admin.listen': admin.listen, state }[key])
}
