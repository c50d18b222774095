import { NO_RESOURCE } from '../config/url.js'
import type { GivenCredential } from '../control.js'
import type { Attempt } from './authorize.js'
import type { Tokens } from './redeem.js'

/**
 * The credential that a login gave, as the admin API takes it. Secrets are in the open here: it goes to the state or to
 * the sidecar, and nowhere else.
 * @param now milliseconds since the epoch
 */
export async function givenCredential (attempt: Attempt, { issued, scope }: Tokens, now: number): Promise<GivenCredential> {
  const { known, client } = attempt
  const [secret, refreshToken] = [(await client.keep?.read())?.reveal(), issued.refreshToken?.reveal()]
  const ends = client.registered?.secretExpiresAt
  return {
    type: 'refresh_token',
    issuer: known.server.issuer,
    client_id: client.id,
    client_auth: client.proof.clientAuth,
    ...(secret === undefined ? {} : { client_secret: secret }),
    ...(ends === undefined ? {} : { client_secret_expires_at: ends }),
    access_token: issued.accessToken.reveal(),
    ...(issued.expiresAt === undefined ? {} : { expires_in: Math.max(1, Math.floor((issued.expiresAt - now) / 1000)) }),
    ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    ...(scope === undefined ? {} : { scope }),
    // Left out it would be the upstream's URL again.
    resource: attempt.resource ?? NO_RESOURCE,
  }
}
