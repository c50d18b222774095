import { ConfigError, loadConfigFile } from '../config/load.js'
import type { Config, SecretRef } from '../config/config.js'
import { readListen } from '../config/listen.js'
import { renderProblems } from '../config/problem.js'
import { secretRef } from '../config/secret-ref.js'
import { isLoopback } from '../config/url.js'
import { AdminFailure } from './admin-failure.js'

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
  readonly at: { readonly url: URL } | { readonly socket: string }
  readonly token: SecretRef | undefined
  /** Whether the token would cross a network as it is. */
  readonly isPlain: boolean
}

const NAME_IT = 'name the sidecar with --admin-url URL or MCP_VALET_ADMIN_URL, and its token with --admin-token-file FILE or MCP_VALET_ADMIN_TOKEN'

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
  if (adminUrl !== undefined) return targetOf(placeOf(adminUrl), given ?? await tokenOfConfig(options))

  const config = await load(options)
  const { listen, token } = config.admin
  if ('socket' in listen) return targetOf(listen, given ?? token)
  if (listen.port === 0) throw new AdminFailure(1, `admin.listen in ${options.config} has port 0, so only the log of mcp-valet knows the port: ${NAME_IT}`)
  return targetOf({ url: new URL(`http://${reachable(listen.host)}:${listen.port}`) }, given ?? token)
}

function targetOf (at: AdminTarget['at'], token: SecretRef | undefined): AdminTarget {
  if ('socket' in at) return { name: `unix:${at.socket}`, at, token, isPlain: false }
  return { name: at.url.href.replace(/\/$/, ''), at, token, isPlain: at.url.protocol === 'http:' && !isLoopback(at.url.hostname) }
}

function placeOf (text: string): AdminTarget['at'] {
  try {
    if (!/^https?:\/\//i.test(text)) {
      const listen = readListen(text)
      return 'socket' in listen ? listen : { url: new URL(`http://${bracketed(listen.host)}:${listen.port}`) }
    }
    const url = new URL(text)
    if (url.username === '' && url.password === '' && url.search === '' && url.hash === '') return { url }
  } catch {}
  // The text is not repeated: people put tokens into URLs.
  throw new AdminFailure(1, '--admin-url is no address of an admin API: expected http://host:port, https://host, host:port or unix:/path.sock')
}

/** What listens on every address is called by the loopback one. */
function reachable (host: string): string {
  if (/^[0.]+$/.test(host)) return '127.0.0.1'
  return /^[0:]+$/.test(host) ? '[::1]' : bracketed(host)
}

function bracketed (host: string): string {
  return host.includes(':') ? `[${host}]` : host
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
    if (error instanceof ConfigError) throw new AdminFailure(1, `${renderProblems(config, error.problems)}\nThe config says where the sidecar is; without one, ${NAME_IT}`)
    throw error
  }
}
