import { ConfigError, loadConfigFile } from '../config/load.js'
import type { Config, SecretRef } from '../config/config.js'
import { formatListen } from '../config/listen.js'
import { renderProblems } from '../config/problem.js'
import { secretRef } from '../config/secret-ref.js'
import { isLoopback } from '../config/url.js'
import { AdminFailure } from './admin-failure.js'
import { NAME_IT, nameOf, placeOfListen, placeOfText, type AdminPlace } from './admin-place.js'

export interface TargetOptions {
  /** `http://host:port`, `https://…`, `host:port` or `unix:/path.sock`. */
  readonly adminUrl?: string | undefined
  readonly adminTokenFile?: string | undefined
  readonly config: string
  readonly env: NodeJS.ProcessEnv
}

/** A running sidecar, and the token of its admin API. */
export interface AdminTarget {
  /** For people. */
  readonly name: string
  readonly at: AdminPlace
  readonly token: SecretRef | undefined
  /** Whether the token would cross a network as it is. */
  readonly isPlain: boolean
}

const NAME_BOTH = `${NAME_IT}, and its token with --admin-token-file FILE or MCP_VALET_ADMIN_TOKEN`

/**
 * Finds the sidecar that a verb is about: what the command line names, else what the environment names, else what the
 * config says.
 * @throws {AdminFailure} that says what is missing
 */
export async function findTarget (options: TargetOptions): Promise<AdminTarget> {
  const { adminUrl, adminTokenFile, env } = options
  const given = adminTokenFile !== undefined
    ? secretRef({ file: adminTokenFile }, { env })
    : (env.MCP_VALET_ADMIN_TOKEN ?? '') !== '' ? secretRef({ env: 'MCP_VALET_ADMIN_TOKEN' }, { env }) : undefined
  if (adminUrl !== undefined) return targetOf(placeOfText(adminUrl), given ?? await tokenOfConfig(options))

  const config = await load(options)
  const { listen, token } = config.admin
  return targetOf(placeOfListen(formatListen(listen), options.config), given ?? token)
}

function targetOf (at: AdminPlace, token: SecretRef | undefined): AdminTarget {
  return { name: nameOf(at), at, token, isPlain: 'url' in at && at.url.protocol === 'http:' && !isLoopback(at.url.hostname) }
}

/** A config is no must for who names the sidecar: where there is none, there is no token in it. */
async function tokenOfConfig ({ config, env }: TargetOptions): Promise<SecretRef | undefined> {
  try {
    return (await loadConfigFile(config, env)).admin.token
  } catch (error) {
    if (error instanceof ConfigError) return undefined
    throw error
  }
}

async function load ({ config, env }: TargetOptions): Promise<Config> {
  try {
    return await loadConfigFile(config, env)
  } catch (error) {
    if (error instanceof ConfigError) throw new AdminFailure(1, `${renderProblems(config, error.problems)}\nThe config says where the sidecar is; without one, ${NAME_BOTH}`)
    throw error
  }
}
