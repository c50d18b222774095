import type * as oauth from 'oauth4webapi'
import type { TokenEndpointConfig } from '../../config/config.js'
import type { Issuers } from './issuers.js'

/** What a grant needs of its authorization server; discovered once and then kept (RFC 8414). */
export interface Server {
  /** @throws {GrantError} */
  known (): Promise<oauth.AuthorizationServer>
  /** Discovers it anew when it is needed next: its token endpoint may have moved. */
  forget (): void
}

/**
 * The server that the config names: by its token endpoint, or by its issuer, whose metadata is asked for when first
 * needed, and again after a failure and once it is forgotten.
 */
export function authorizationServer (config: TokenEndpointConfig, issuers: Issuers): Server {
  if (config.tokenEndpoint !== undefined) {
    // Assertions are for the issuer. Where only its token endpoint is known, that is its name (RFC 7523 §3).
    const server = { issuer: config.tokenEndpoint.href, token_endpoint: config.tokenEndpoint.href }
    return { known: async () => server, forget: () => {} }
  }
  const issuer = config.issuer as URL
  let known: Promise<oauth.AuthorizationServer> | undefined
  const forget = (): void => {
    if (known !== undefined) issuers.forget(issuer, known)
    known = undefined
  }
  return {
    async known () {
      const asked = known ??= issuers.metadataOf(issuer)
      return await asked.catch((error: unknown) => {
        if (known === asked) known = undefined
        throw error
      })
    },
    forget,
  }
}

/** Where a grant of this config asks; empty as long as nobody knows. */
export function originOf (config: TokenEndpointConfig): string {
  return (config.tokenEndpoint ?? config.issuer)?.origin ?? ''
}
