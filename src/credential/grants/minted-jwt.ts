import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Clock } from '../../clock.js'
import type { MintedJwtConfig, SigningAlgorithm, SigningKeyConfig } from '../../config/config.js'
import { SecretRefError } from '../../config/secret-error.js'
import { readSigningKey } from '../../config/signing-key.js'
import { GrantError, readSecret } from './grant.js'

/** A JWT that was made here. Times in milliseconds since the epoch. */
export interface MintedJwt {
  readonly jwt: string
  readonly issuedAt: number
  readonly expiresAt: number
}

/**
 * Makes and signs a JWT (RFC 7519) with a key that is read afresh, so that a rotated one is picked up.
 * @param defaults claims that the config may leave out
 * @throws {GrantError} that says what is wrong with the key, and holds nothing of it
 */
export async function mintJwt (config: MintedJwtConfig, defaults: Readonly<Record<string, unknown>>, clock: Clock): Promise<MintedJwt> {
  const { key, alg, keyId } = await readKey(config, readSigningKey)
  const kid = config.keyId ?? keyId
  const issuedAt = clock.now()
  const iat = Math.floor(issuedAt / 1000)
  const exp = iat + config.lifetimeMs / 1000
  const jwt = await new SignJWT({ ...defaults, ...config.claims, iat, exp, jti: randomUUID() })
    .setProtectedHeader({ alg, typ: config.typ, ...(kid === undefined ? {} : { kid }) })
    .sign(key)
  return { jwt, issuedAt, expiresAt: exp * 1000 }
}

/** @throws {GrantError} where the key cannot be read, or is none */
export async function readKey<K> (
  { key, alg }: SigningKeyConfig, read: (text: string, alg: SigningAlgorithm | undefined, source: string) => Promise<K>
): Promise<K> {
  const text = (await readSecret(key)).reveal()
  try {
    return await read(text, alg, key.source)
  } catch (error) {
    throw new GrantError('unavailable', error instanceof SecretRefError ? error.message : `${key.source} holds a key that cannot be used`)
  }
}
