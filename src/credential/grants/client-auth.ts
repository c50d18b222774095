import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { SigningKeyConfig, TokenEndpointConfig } from '../../config/config.js'
import { readPrivateKey } from '../../config/signing-key.js'
import { readSecret } from './grant.js'
import { readKey } from './minted-jwt.js'

/** Seconds that a client assertion is good for: it is used once, at once. */
const ASSERTION_LIFETIME = 60

/**
 * The client as RFC 6749 §2.3 and RFC 7523 §2.2 let it prove itself. Its secret or key is read afresh, so that a rotated
 * one is picked up.
 * @throws {GrantError}
 */
export async function clientAuthentication (config: TokenEndpointConfig, clock: Clock): Promise<oauth.ClientAuth> {
  const { clientId, clientAuth, clientSecret, clientKey } = config
  if (clientId === undefined) return () => {}
  if (clientKey !== undefined) return await privateKeyJwt(clientKey, clock)
  if (clientAuth === 'none' || clientSecret === undefined) return oauth.None()
  const secret = (await readSecret(clientSecret)).reveal()
  return clientAuth === 'client_secret_post' ? oauth.ClientSecretPost(secret) : oauth.ClientSecretBasic(secret)
}

/**
 * A client assertion (RFC 7523 §3). Its audience is the issuer and nobody else: with a token endpoint's URL in its place,
 * another issuer could have it made for itself by naming that URL as its own (draft-ietf-oauth-rfc7523bis).
 */
async function privateKeyJwt (config: SigningKeyConfig, clock: Clock): Promise<oauth.ClientAuth> {
  const { key, alg, keyId } = await readKey(config, readPrivateKey)
  const kid = config.keyId ?? keyId
  return oauth.PrivateKeyJwt({ key, ...(kid === undefined ? {} : { kid }) }, {
    [oauth.modifyAssertion] (header, claims) {
      // The library calls EdDSA by its newer name, which few issuers know, and asks the system what time it is.
      header.alg = alg
      const now = Math.floor(clock.now() / 1000)
      Object.assign(claims, { iat: now, exp: now + ASSERTION_LIFETIME })
      // An issuer whose clock is a second behind would refuse it.
      delete claims.nbf
    },
  })
}
