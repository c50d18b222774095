import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { adminKeeper } from './keeper-admin.js'
import { stateKeeper } from './keeper-state.js'
import type { Save } from './login.js'
import { LoginError } from './problem.js'

/** Where a login is kept. */
export interface Keeper {
  /** For people: `by the sidecar at http://127.0.0.1:8402`. */
  readonly where: string
  /** @throws {LoginError} where it cannot be kept */
  readonly save: Save
  close (): Promise<void>
}

/**
 * Finds out where a login can be kept, before anybody is asked to log in: with the sidecar that runs, which then uses it
 * from the next call on, or else in the state that the config names.
 * @throws {LoginError}
 */
export async function openKeeper (config: Config, clock: Clock, stop: AbortSignal): Promise<Keeper> {
  const running = await adminKeeper(config.admin, stop)
  if (running !== undefined) return running
  if (config.state.driver !== 'memory') return await stateKeeper(config, clock)
  throw new LoginError(config.admin.token === undefined
    ? 'there is nowhere to keep a login: state.driver is memory, and without admin.token a running sidecar takes none; use driver lmdb or redis, or set admin.token and start `mcp-valet serve`'
    : 'there is nowhere to keep a login: state.driver is memory, and no sidecar answers at admin.listen; start `mcp-valet serve` with this config first, or use driver lmdb or redis')
}
