import * as oauth from 'oauth4webapi'
import type { SecretRef } from '../config/config.js'
import { readable } from '../config/raw.js'
import { LATEST_SECOND } from '../config/units.js'
import { readScope } from '../config/values.js'
import { Secret } from '../secret.js'
import { VERSION } from '../version.js'
import { asFetch, type Asking } from './ask.js'
import { endpoint, type KnownIssuer } from './issuer.js'
import { LoginError, quoted, shown } from './problem.js'
import type { ClientProof, NamedClient } from './plan.js'

/** The OAuth client that a login is done as. */
export interface LoginClient {
  readonly id: string
  readonly from: 'config' | 'flag' | 'metadata_document' | 'registration'
  readonly proof: ClientProof
  /** A secret that is to be kept with the tokens, as no default of the config brings it back. */
  readonly keep: SecretRef | undefined
  /** What a registration gave that may end, or be less than was asked for (RFC 7591 §3.2.1). */
  readonly registered?: Registered
}

export interface Registered {
  /** When the kept secret ends, seconds since the epoch. */
  readonly secretExpiresAt: number | undefined
  /** What the client may ask for, where that was said. */
  readonly scope: string | undefined
}

/**
 * The client that a person named, or one that is registered now, where the issuer lets anybody register (RFC 7591).
 * @param redirectUri where the browser will be sent back to
 * @throws {LoginError} that says how to get a client
 */
export async function loginClient (
  named: NamedClient | undefined, issuer: URL, known: KnownIssuer, wanted: { redirectUri: string, scope: string | undefined }, stop: AbortSignal
): Promise<LoginClient> {
  if (named === undefined) return await register(issuer, known, wanted, stop)
  const client = { id: named.id, proof: named.proof, keep: named.keep }
  if (named.by === 'config' || !named.id.startsWith('https://')) return { ...client, from: named.by }
  if (known.server.client_id_metadata_document_supported === true) return { ...client, from: 'metadata_document' }
  throw new LoginError(`the issuer ${shown(issuer)} does not support client ids that are addresses (client_id_metadata_document_supported): name a client that is registered there with --client-id`)
}

async function register (issuer: URL, { server }: KnownIssuer, { redirectUri, scope }: { redirectUri: string, scope: string | undefined }, stop: AbortSignal): Promise<LoginClient> {
  if (server.registration_endpoint === undefined) {
    throw new LoginError(`the issuer ${shown(issuer)} lets nobody register a client by themselves: register one there by hand (a native or public client, authorization code with PKCE, redirect URI ${redirectUri.replace(/:\d+\//, '/')} or, with --redirect-port N, http://127.0.0.1:N/callback), and name it with --client-id or as client_id in the upstream's credential in the config`)
  }
  endpoint(issuer, server, 'registration_endpoint')
  const asking: Asking = { whom: `the issuer ${shown(issuer)}`, stop }
  const metadata = {
    client_name: 'mcp-valet',
    software_id: 'mcp-valet',
    software_version: VERSION,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
    ...(scope === undefined ? {} : { scope }),
  }
  const answer = await oauth.dynamicClientRegistrationRequest(server, metadata, {
    [oauth.allowInsecureRequests]: true, [oauth.customFetch]: asFetch(asking),
  })
  return registered(issuer, await read(issuer, answer))
}

async function read (issuer: URL, answer: Response): Promise<oauth.OmitSymbolProperties<oauth.Client>> {
  const refused = `the issuer ${shown(issuer)} did not register a client`
  const instead = 'register one there by hand, and name it with --client-id'
  try {
    // There are issuers that say 200 for what RFC 7591 §3.2.1 has 201 for.
    return await oauth.processDynamicClientRegistrationResponse(answer.status === 200 ? new Response(answer.body, { status: 201, headers: answer.headers }) : answer)
  } catch (error) {
    if (!(error instanceof oauth.ResponseBodyError)) throw new LoginError(`${refused}: its answer (HTTP ${answer.status}) is not what RFC 7591 asks for; ${instead}`)
    const why = [error.error, error.error_description].filter((text) => text !== undefined).map(quoted).join(': ')
    throw new LoginError(`${refused} (${why}): ${instead}`)
  }
}

function registered (issuer: URL, client: oauth.OmitSymbolProperties<oauth.Client>): LoginClient {
  const { client_id: id, client_secret: text } = client
  const secret = typeof text === 'string' && text !== '' ? new Secret(text) : undefined
  // What is left out is client_secret_basic (RFC 7591 §2), but a client without a secret can only be a public one.
  const auth = secret === undefined ? 'none' : client.token_endpoint_auth_method ?? 'client_secret_basic'
  const usable = auth === 'none' || auth === 'client_secret_basic' || auth === 'client_secret_post'
  if (!usable || !/^[\x20-\x7e]{1,2048}$/.test(id)) {
    throw new LoginError(`the issuer ${shown(issuer)} registered a client that cannot be used from here: register one there by hand, and name it with --client-id`)
  }
  const keep = secret === undefined || auth === 'none' ? undefined : { source: 'registration', read: async () => secret }
  const secretExpiresAt = keep === undefined ? undefined : endOf(client.client_secret_expires_at)
  return { id, from: 'registration', proof: { clientSecret: keep, clientAuth: auth }, keep, registered: { secretExpiresAt, scope: typeof client.scope === 'string' ? readable(client.scope, readScope) : undefined } }
}

/** 0 is for a secret that does not end; what is no date here is likely in milliseconds, and would be a guess. */
function endOf (seconds: unknown): number | undefined {
  return typeof seconds === 'number' && seconds > 0 && seconds <= LATEST_SECOND ? Math.floor(seconds) : undefined
}
