import { createHash, timingSafeEqual } from 'node:crypto'
import { OAuthError } from './oauth-error.js'

/** A client that the issuer knows; one without a secret is public (RFC 6749 §2.1). */
export interface IssuerClient {
  readonly id: string
  readonly secret?: string
}

/**
 * Who is calling the token endpoint: `client_secret_basic`, `client_secret_post`, or a public client's bare `client_id`
 * (RFC 6749 §2.3.1).
 *
 * @throws {OAuthError} `invalid_client` (401), or `invalid_request` when a client authenticates in two ways at once
 */
export function authenticateClient (
  authorization: string | undefined,
  params: URLSearchParams,
  clients: ReadonlyMap<string, IssuerClient>
): IssuerClient {
  const given = authorization === undefined
    ? { id: params.get('client_id'), secret: params.get('client_secret') }
    : basic(authorization)

  if (authorization !== undefined && params.has('client_secret')) {
    throw new OAuthError('invalid_request', 'use one way to authenticate the client, not two')
  }

  const client = given.id === null ? undefined : clients.get(given.id)
  // An unknown client is compared as well, so that the time taken does not tell which ids exist.
  const matches = sameSecret(given.secret ?? '', client?.secret ?? '')
  if (client === undefined || !matches) throw invalidClient('unknown client or wrong client secret', authorization)
  return client
}

/** Compares in a time that tells neither where two secrets differ nor how long they are. */
export function sameSecret (a: string, b: string): boolean {
  return timingSafeEqual(sha256(a), sha256(b))
}

function basic (authorization: string): { id: string, secret: string } {
  const [, encoded] = /^Basic +([A-Za-z0-9+/=]+)$/i.exec(authorization) ?? []
  const [, id, secret] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString('utf8')) ?? []
  try {
    return { id: formDecode(id ?? ''), secret: formDecode(secret ?? '') }
  } catch {
    throw invalidClient('the Basic credentials are not form-encoded', authorization)
  }
}

// RFC 6749 §2.3.1 has both halves form-encoded before they are joined; a bare base64 of `id:secret` would misread `%` and `+`.
function formDecode (text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '))
}

// RFC 6749 §5.2: the challenge is due only to a client that tried the Authorization header.
function invalidClient (description: string, authorization: string | undefined): OAuthError {
  const headers: Record<string, string> = authorization === undefined ? {} : { 'WWW-Authenticate': 'Basic realm="issuer"' }
  return new OAuthError('invalid_client', description, { status: 401, headers })
}

function sha256 (text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
