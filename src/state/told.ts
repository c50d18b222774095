import { ControlError } from '../control.js'
import { StateError } from './store.js'

/**
 * What the store refuses, as an owner is told it.
 * @param what has come of it nevertheless
 * @throws {ControlError} ERR_STATE_UNAVAILABLE
 */
export async function told<T> (work: Promise<T>, what?: string): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof StateError)) throw error
    throw new ControlError('ERR_STATE_UNAVAILABLE', [{ path: '', message: what === undefined ? error.message : `${what}: ${error.message}` }], { cause: error })
  }
}
