import type { CredentialConfig } from '../config/config.js'
import type { CompleteCredential } from '../config/given-credential.js'
import { ControlError, type GivenCredential } from '../control.js'
import type { PutCredential } from './register.js'

/**
 * Checks a credential that is given.
 * @param path where in the request it is, up to and with the dot before its keys; empty where it is all of it
 * @throws {ControlError} ERR_REQUEST_INVALID
 */
export function checkGiven (complete: CompleteCredential, upstream: string, given: GivenCredential, path: string): void {
  try {
    complete(upstream, given)
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    throw new ControlError(error.code, error.details.map((detail) => ({ ...detail, path: detail.path === '' ? path.slice(0, -1) : path + detail.path })))
  }
}

/**
 * The config of a credential that was put.
 * @param unfit is told why there is none: the config has changed since
 */
export function completed (complete: CompleteCredential, upstream: string, put: PutCredential, unfit: (reason: string) => void): CredentialConfig | undefined {
  const { expires_at: expiresAt, ...given } = put
  try {
    const config = complete(upstream, given)
    return expiresAt === undefined ? config : { ...config, ...(config.type === 'api_token' ? { expiresAt } : { accessTokenExpiresAt: expiresAt }) }
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    unfit(error.details[0]?.message ?? error.message)
    return undefined
  }
}
