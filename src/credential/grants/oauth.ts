import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { TokenEndpointConfig } from '../../config/config.js'
import { expiryOfIssued } from '../lifetime.js'
import { authorizationServer } from './authorization-server.js'
import { clientAuthentication } from './client-auth.js'
import { accessToken, GrantError, refreshToken, rotatedIn, type Issued } from './grant.js'
import type { Issuers } from './issuers.js'
import { tidied } from './token-answer.js'
import { askTokenEndpoint } from './token-endpoint.js'

const MALFORMED = 'the token endpoint\'s answer is not what RFC 6749 §5.1 asks for: it must'
const NO_TOKEN = `${MALFORMED} hold an access_token, which is a string`
const NO_BEARER = `${MALFORMED} be of token_type Bearer`

/** One token request (RFC 6749 §4.5). */
export interface TokenRequest {
  readonly grantType: string
  /** The grant's own parameters; undefined ones are left out. */
  readonly parameters?: Readonly<Record<string, string | undefined>>
  /** Whether a refresh token in the answer is taken in; elsewhere nobody would ever use it. */
  readonly refreshes?: boolean
  /** What to look at where the grant is refused, and no person can log in again: the end of a sentence. */
  readonly refused?: string
  /** Why the token of this answer is of no use, as a reason for the log; by default it must be of `token_type` Bearer. */
  readonly unfit?: (answer: oauth.TokenEndpointResponse) => string | undefined
  /** As in `Grant.exchange`. */
  readonly mayAsk?: (() => void) | undefined
}

export interface TokenEndpoint {
  /** The `aud` of an assertion for this issuer. */
  audience (): Promise<string>
  /** @throws {GrantError} */
  request (asked: TokenRequest): Promise<Issued>
}

/** The token endpoint of a config. Secrets and keys are read afresh for each request, so that a rotated one is picked up. */
export function tokenEndpoint (config: TokenEndpointConfig, clock: Clock, issuers: Issuers): TokenEndpoint {
  const server = authorizationServer(config, issuers)
  // The library wants a name although nothing is sent of a client that is none.
  const client = { client_id: config.clientId ?? 'none' }
  return {
    audience: async () => (await server.known()).issuer,
    async request (asked) {
      const [as, authentication] = await Promise.all([server.known(), clientAuthentication(config, clock)])
      return await issue(asked, lapsed(config, clock.now()), clock, async (options) => {
        const response = await oauth.genericTokenEndpointRequest(as, client, authentication, asked.grantType, parametersOf(config, asked), options)
        return await oauth.processGenericTokenEndpointResponse(as, client, response, { recognizedTokenTypes: { n_a: () => {} } })
      }).catch((error: unknown) => {
        if (error instanceof GrantError && error.gone) server.forget()
        throw error
      })
    },
  }
}

/** What the tokens of this client are good for. */
export function termsOf (config: TokenEndpointConfig & { readonly type: string, readonly audience?: string | undefined }): string {
  return JSON.stringify([config.type, config.tokenEndpoint?.href ?? config.issuer?.href, config.clientId, config.scope ?? null, config.resource, ...(config.audience === undefined ? [] : [config.audience])])
}

/** A grant's own parameters, and those that every grant here may add: scope (RFC 6749 §3.3) and resource (RFC 8707). */
function parametersOf ({ scope, resource }: TokenEndpointConfig, { parameters }: TokenRequest): URLSearchParams {
  const given = Object.entries({ resource, scope, ...parameters }).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return new URLSearchParams(given)
}

/**
 * Makes one token request and takes its answer in.
 * @param refusedClient as in `AskOptions`
 * @param request is given options that bring our own bounded fetch. Plain http is the config's to allow, and it did.
 */
async function issue (asked: TokenRequest, refusedClient: string | undefined, clock: Clock, request: (options: oauth.TokenEndpointRequestOptions) => Promise<oauth.TokenEndpointResponse>): Promise<Issued> {
  const requestedAt = clock.now()
  let body: Record<string, unknown> | undefined
  let rotated: unknown
  try {
    const answer = await request({
      [oauth.allowInsecureRequests]: true,
      [oauth.customFetch]: async (url: string, options: object) => {
        asked.mayAsk?.()
        const { refresh_token: next, ...rest } = tidied(await askTokenEndpoint(url, options, { now: () => clock.now(), refused: asked.refused, refusedClient }))
        body = rest
        if (asked.refreshes === true) rotated = next
        return Response.json(body)
      },
    })
    const unfit = (asked.unfit ?? unlessBearer)(answer)
    if (unfit !== undefined) throw new GrantError('unavailable', unfit)
    const token = accessToken(answer.access_token, 'the token endpoint')
    return {
      accessToken: token,
      refreshToken: rotated === undefined ? undefined : refreshToken(rotated, 'the token endpoint'),
      obtainedAt: requestedAt,
      expiresAt: expiryOfIssued(answer.access_token, answer.expires_in, requestedAt),
    }
  } catch (error) {
    if (body === undefined) throw error instanceof GrantError ? error : new GrantError('unavailable', 'the token request could not be made')
    // Nothing else that the library would refuse is left in it.
    const reason = error instanceof GrantError ? error.reason : typeof body.access_token === 'string' ? NO_BEARER : NO_TOKEN
    throw new GrantError('unavailable', reason, { rotated: rotatedIn(rotated) })
  }
}

/** Why an issuer may refuse the client, where its secret has ended. It is asked all the same: it may have prolonged it, or its clock be right. */
function lapsed ({ clientSecretExpiresAt }: TokenEndpointConfig, now: number): string | undefined {
  if (clientSecretExpiresAt === undefined || now < clientSecretExpiresAt) return undefined
  return `the client's secret ended at ${new Date(clientSecretExpiresAt).toISOString()}: log in again, with a client that is registered anew`
}

/** The library lets DPoP tokens pass (RFC 9449), which are of no use without their key. */
function unlessBearer (answer: oauth.TokenEndpointResponse): string | undefined {
  return answer.token_type === 'bearer' ? undefined : NO_BEARER
}
