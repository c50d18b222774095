import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { Register } from '../credential/register.js'
import { openState } from '../state/open.js'
import type { Keeper } from './keeper.js'

/** The state that the config names, written to directly: a sidecar that shares it takes the credential up by itself. */
export async function stateKeeper (config: Config, clock: Clock): Promise<Keeper> {
  const { vault } = await openState(config.state)
  const register = new Register(vault, clock)
  return {
    where: `in the state (${config.state.driver === 'lmdb' ? config.state.path : config.state.driver})`,
    async save (principal, upstream, given) {
      config.complete(upstream, given)
      await register.putCredential(principal, upstream, given)
    },
    close: async () => await vault.close(),
  }
}
