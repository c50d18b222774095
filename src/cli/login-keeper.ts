import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { stateKeeper, type Keeper } from '../login/keeper.js'
import { LoginError } from '../login/problem.js'
import { AdminClient } from './admin-client.js'
import { AdminFailure } from './admin-failure.js'
import { findTarget, type TargetOptions } from './admin-target.js'
import { PRINCIPALS, PUT_PRINCIPAL } from './expected.js'

/**
 * Finds out where a login can be kept, before anybody is asked to log in: with the sidecar that runs, which then uses it
 * from the next call on, or else in the state that the config names.
 * @param warn told of a sidecar that tokens would reach unencrypted
 * @throws {LoginError | StateError}
 */
export async function openKeeper (config: Config, options: TargetOptions, clock: Clock, warn: (line: string) => void): Promise<Keeper> {
  const running = await refusedAsLoginError(sidecarKeeper(config, options, warn))
  if (running !== undefined) return running
  if (config.state.driver !== 'memory') return await stateKeeper(config, clock)
  throw new LoginError(config.admin.token === undefined
    ? 'there is nowhere to keep a login: state.driver is memory, and without admin.token a running sidecar takes none; use driver lmdb or redis, or set admin.token and start `mcp-valet serve`'
    : 'there is nowhere to keep a login: state.driver is memory, and no sidecar answers at admin.listen; start `mcp-valet serve` with this config first, or use driver lmdb or redis')
}

/** The sidecar that the options or the config name; undefined where none runs, or where it cannot be asked. */
async function sidecarKeeper ({ admin: { listen, token } }: Config, options: TargetOptions, warn: (line: string) => void): Promise<Keeper | undefined> {
  const isNamed = options.adminUrl !== undefined
  const mayAsk = token !== undefined || options.adminTokenFile !== undefined || (options.env.MCP_VALET_ADMIN_TOKEN ?? '') !== ''
  if (!isNamed && (!mayAsk || ('port' in listen && listen.port === 0))) return undefined
  const target = await findTarget(options)
  if (target.isPlain) warn(`tokens would cross the network unencrypted to ${target.name}`)
  const client = new AdminClient(target)
  try {
    await client.ask('GET', '/principals?limit=1', PRINCIPALS)
  } catch (error) {
    if (error instanceof AdminFailure && error.exitCode === 3 && !isNamed) return undefined
    throw error
  }
  return {
    where: `by the sidecar at ${client.name}`,
    async save (principal, upstream, given) {
      await refusedAsLoginError(client.ask('PUT', `/principals/${encodeURIComponent(principal)}/credentials/${encodeURIComponent(upstream)}`, PUT_PRINCIPAL, { body: given }))
    },
    close: async () => {},
  }
}

async function refusedAsLoginError<T> (asked: Promise<T>): Promise<T> {
  return await asked.catch((error: unknown) => { throw error instanceof AdminFailure ? new LoginError(error.message) : error })
}
