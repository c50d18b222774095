import { randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type JSONWebKeySet, type JWTPayload } from 'jose'

export interface Signer {
  /** The public half, as `/jwks` serves it (RFC 7517). */
  readonly jwks: JSONWebKeySet
  sign (claims: JWTPayload): Promise<string>
}

/** Signs access tokens (ES256, `typ: at+jwt` as RFC 9068 asks) with a key pair that lives as long as the process. */
export async function createSigner (): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256')
  const jwk = await exportJWK(publicKey)
  const kid = await calculateJwkThumbprint(jwk)

  return {
    jwks: { keys: [{ ...jwk, kid, alg: 'ES256', use: 'sig' }] },
    // Two tokens made within one second would be equal without a jti, and a refresh could not be told from none.
    sign: async (claims) => await new SignJWT({ jti: randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
      .sign(privateKey),
  }
}
