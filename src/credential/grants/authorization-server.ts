import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import type { TokenEndpointConfig } from '../../config/config.js'
import { metadataPlaces } from '../../config/url.js'
import { GrantError } from './grant.js'
import { askTokenEndpoint } from './token-endpoint.js'

/** What a grant needs of its authorization server; discovered once and then kept (RFC 8414). */
export interface Server {
  /** @throws {GrantError} */
  known (): Promise<oauth.AuthorizationServer>
  /** Discovers it anew when it is needed next: its token endpoint may have moved. */
  forget (): void
}

/**
 * The server that the config names: by its token endpoint, or by its issuer, whose metadata is fetched when first
 * needed, and again after a failure and once it is forgotten. The metadata's `issuer` must be the configured one to the letter (RFC 8414 §3.3).
 */
export function authorizationServer (config: TokenEndpointConfig, clock: Clock): Server {
  if (config.tokenEndpoint !== undefined) {
    // Assertions are for the issuer. Where only its token endpoint is known, that is its name (RFC 7523 §3).
    const server = { issuer: config.tokenEndpoint.href, token_endpoint: config.tokenEndpoint.href }
    return { known: async () => server, forget: () => {} }
  }
  const issuer = config.issuer as URL
  let known: Promise<oauth.AuthorizationServer> | undefined
  return {
    async known () {
      known ??= discover(issuer, clock).catch((error: unknown) => {
        known = undefined
        throw error
      })
      return await known
    },
    forget () { known = undefined },
  }
}

async function discover (issuer: URL, clock: Clock): Promise<oauth.AuthorizationServer> {
  const failures: Array<{ readonly error: unknown, readonly answered: boolean }> = []
  for (const place of metadataPlaces(issuer)) {
    let answered = false
    try {
      // The library knows some of the places only, but what to send to each.
      const response = await oauth.discoveryRequest(issuer, { [oauth.customFetch]: fetchMetadata(place, clock), [oauth.allowInsecureRequests]: true })
      answered = true
      const server = await oauth.processDiscoveryResponse(issuer, response)
      const error = unfit(issuer, server)
      if (error === undefined) return server
      failures.push({ error, answered })
    } catch (error) {
      failures.push({ error, answered })
    }
  }
  // An issuer that publishes in one place only has nothing in the others, which explains nothing.
  const failure = (failures.find(({ error }) => namesAnother(error)) ?? failures.findLast(({ answered }) => answered) ?? failures.at(-1))?.error
  const told = failure instanceof GrantError ? failure : undefined
  const reason = told?.reason ?? (namesAnother(failure) ? 'its metadata names another issuer: name the issuer in the config as it names itself, to the letter' : 'its metadata is not what RFC 8414 asks for: check the issuer\'s URL, or name its token_endpoint instead')
  throw new GrantError('unavailable', `the issuer ${issuer.origin} could not be discovered: ${reason}`, { retryAfter: told?.retryAfter })
}

function namesAnother (failure: unknown): boolean {
  return failure instanceof oauth.OperationProcessingError && failure.code === oauth.JSON_ATTRIBUTE_COMPARISON
}

function fetchMetadata (place: string, clock: Clock) {
  return async (_url: string, options: object): Promise<Response> => {
    return Response.json(await askTokenEndpoint(place, options, { now: () => clock.now(), whom: 'its metadata endpoint' }))
  }
}

/** Metadata may send the grant to another host, as large issuers do, but never from https down to http. */
function unfit (issuer: URL, server: oauth.AuthorizationServer): GrantError | undefined {
  if (server.token_endpoint === undefined || !isHttpUrl(server.token_endpoint)) return new GrantError('unavailable', 'its metadata names no token_endpoint')
  if (issuer.protocol === 'https:' && !server.token_endpoint.startsWith('https:')) return new GrantError('unavailable', 'its metadata names a token_endpoint without TLS')
  return undefined
}

function isHttpUrl (text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}

/** Where a grant of this config asks; empty as long as nobody knows. */
export function originOf (config: TokenEndpointConfig): string {
  return (config.tokenEndpoint ?? config.issuer)?.origin ?? ''
}
