import type { GivenCredential } from '../control.js'
import type { Attempt, Tokens } from './authorize.js'

/**
 * The credential that a login gave, as the admin API takes it. Secrets are in the open here: it goes to the state or to
 * the sidecar, and nowhere else.
 * @param now milliseconds since the epoch
 */
export async function givenCredential (attempt: Attempt, { issued, scope }: Tokens, now: number): Promise<GivenCredential> {
  const { known, client } = attempt
  const lifetime = issued.expiresAt === undefined ? {} : { expires_in: Math.max(1, Math.floor((issued.expiresAt - now) / 1000)) }
  // Nothing can renew it then, so it is a token like any other that a person has to replace.
  if (issued.refreshToken === undefined) return { type: 'api_token', token: issued.accessToken.reveal(), ...lifetime }
  const secret = client.keepSecret ? (await client.secret?.read())?.reveal() : undefined
  return {
    type: 'refresh_token',
    ...(known.discoverable ? { issuer: known.server.issuer } : { token_endpoint: known.tokenEndpoint.href }),
    client_id: client.id,
    client_auth: client.auth,
    ...(secret === undefined ? {} : { client_secret: secret }),
    access_token: issued.accessToken.reveal(),
    ...lifetime,
    refresh_token: issued.refreshToken.reveal(),
    ...(scope === undefined ? {} : { scope }),
    resource: attempt.resource,
  }
}
