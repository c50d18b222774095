import type { Secret } from '../secret.js'
import type { SecretRef } from './config.js'
import { SecretRefError } from './secret-error.js'

const SHORTEST = 16
const LONGEST = 4096

/** The token of the admin API is there and cannot serve as one: no later look at it will help. */
export class AdminTokenError extends SecretRefError {}

/**
 * Reads the token of the admin API.
 * @throws {AdminTokenError} where it is too short to be a secret, or could not be sent as a bearer token
 * @throws {SecretRefError} where it cannot be read
 */
export async function readAdminToken (ref: SecretRef): Promise<Secret> {
  const token = await ref.read()
  const { length } = token.reveal()
  if (length < SHORTEST || length > LONGEST) {
    throw new AdminTokenError(`the admin token (${ref.source}) has ${length} characters; it takes ${SHORTEST} to ${LONGEST}: make one with \`openssl rand -base64 32\``)
  }
  if (!/^[\x21-\x7e]+$/.test(token.reveal())) throw new AdminTokenError(`the admin token (${ref.source}) holds spaces or characters beyond ASCII, which cannot be sent in a header`)
  return token
}

/**
 * Looks at the admin token of a config that is to be taken up. One that is there must be fit for it; one that is not there
 * yet is no reason not to serve agents.
 * @param lenient whether one that is unfit is none either: nobody has changed the config that names it
 * @returns what is to be told
 * @throws {AdminTokenError}
 */
export async function adminTokenWarning (ref: SecretRef | undefined, lenient = false): Promise<string | undefined> {
  try {
    if (ref !== undefined) await readAdminToken(ref)
    return undefined
  } catch (error) {
    if (error instanceof AdminTokenError && !lenient) throw error
    return `the admin API answers 503 until its token can be read: ${(error as Error).message}`
  }
}
