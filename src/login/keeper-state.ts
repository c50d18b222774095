import type { Config } from '../config/config.js'
import type { Keeper } from './keeper.js'
import { LoginError } from './problem.js'

export async function stateKeeper (config: Config, _env: NodeJS.ProcessEnv): Promise<Keeper> {
  throw new LoginError(`not yet: ${config.state.driver}`)
}
