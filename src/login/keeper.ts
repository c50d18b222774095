import type { Clock } from '../clock.js'
import type { Config } from '../config/config.js'
import { ControlError } from '../control.js'
import { Register } from '../credential/register.js'
import { openState } from '../state/open.js'
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
 * The state that the config names, written to directly: a sidecar that shares it takes the credential up.
 * @throws {StateError} where it cannot be opened
 */
export async function stateKeeper (config: Config, clock: Clock): Promise<Keeper> {
  const { vault } = await openState(config.state)
  const register = new Register(vault, clock)
  return {
    where: `in the state (${config.state.driver === 'lmdb' ? config.state.path : config.state.driver})`,
    async save (principal, upstream, given) {
      try {
        config.complete(upstream, given)
        await register.putCredential(principal, upstream, given)
      } catch (error) {
        throw error instanceof ControlError ? new LoginError(`the login could not be kept: ${sentenceOf(error)}`) : error
      }
    },
    close: async () => await vault.close(),
  }
}

/** Its own message is for whoever sent a request. */
function sentenceOf ({ message, details }: ControlError): string {
  return details.length === 0 ? message : details.map(({ path, message }) => `${path === '' ? '' : `${path}: `}${message}`).join('; ')
}
