import { isSecretRef, type CredentialConfig, type JsonTemplate, type MintedJwtConfig, type TokenEndpointConfig } from './config.js'
import { address, mapped, place, some } from './mask-parts.js'
import { formatDuration } from './units.js'
import { NO_RESOURCE } from './url.js'

/** A credential as the effective config shows it: every default filled in, of a secret only where it is kept. */
export function maskCredential (credential: CredentialConfig): Record<string, unknown> {
  const { type } = credential
  switch (type) {
    case 'api_token':
      return { type, token: place(credential.token) }
    case 'refresh_token':
      return { type, ...maskClient(credential), ...some('refresh_token', credential.refreshToken), ...some('access_token', credential.accessToken) }
    case 'client_credentials':
      return { type, ...maskClient(credential), ...given('audience', credential.audience) }
    case 'token_exchange':
      return {
        type,
        ...maskClient(credential),
        ...some('subject_token', credential.subjectToken),
        subject_token_type: credential.subjectTokenType,
        ...given('requested_token_type', credential.requestedTokenType),
        ...given('audience', credential.audience),
        ...some('actor_token', credential.actorToken),
        ...credential.actorToken === undefined ? {} : { actor_token_type: credential.actorTokenType },
      }
    case 'jwt_bearer':
      return { type, ...maskClient(credential), ...isSecretRef(credential.assertion) ? some('assertion', credential.assertion) : maskMinted(credential.assertion) }
    case 'signed_jwt':
      return { type, ...maskMinted(credential) }
    case 'command':
      return { type, ...place(credential.output) }
    case 'custom':
      return { type, name: credential.name, ...(credential.options === undefined ? {} : { options: maskTemplate(credential.options) }) }
    case 'json_refresh':
      return {
        type,
        url: address(credential.url),
        method: credential.method,
        headers: mapped(credential.headers, (value) => typeof value === 'string' ? value : place(value)),
        ...(credential.body === undefined ? {} : { body: maskTemplate(credential.body) }),
        ...some('refresh_token', credential.refreshToken),
        ...some('access_token', credential.accessToken),
        response: {
          access_token: credential.response.accessToken,
          refresh_token: credential.response.refreshToken,
          expires_in: credential.response.expiresIn,
        },
      }
  }
}

function maskClient (client: TokenEndpointConfig & { readonly audience?: string | undefined }) {
  return {
    ...(client.issuer === undefined ? {} : { issuer: address(client.issuer) }),
    ...(client.tokenEndpoint === undefined ? {} : { token_endpoint: address(client.tokenEndpoint) }),
    ...given('client_id', client.clientId),
    ...some('client_secret', client.clientSecret),
    client_auth: client.clientAuth,
    ...some('client_key', client.clientKey?.key),
    ...given('client_key_id', client.clientKey?.keyId),
    ...given('client_key_alg', client.clientKey?.alg),
    ...given('scope', client.scope),
    // With an audience none is the default.
    ...given('resource', client.resource ?? (client.audience === undefined ? NO_RESOURCE : undefined)),
  }
}

function maskMinted (minted: MintedJwtConfig) {
  return {
    ...given('alg', minted.alg),
    key: place(minted.key),
    ...given('key_id', minted.keyId),
    typ: minted.typ,
    claims: minted.claims,
    lifetime: formatDuration(minted.lifetimeMs),
  }
}

function given (key: string, value: string | undefined) {
  return value === undefined ? {} : { [key]: value }
}

function maskTemplate (template: JsonTemplate): unknown {
  if (typeof template !== 'object' || template === null) return template
  if (isList(template)) return template.map(maskTemplate)
  if (isSecretRef(template)) return place(template)
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, maskTemplate(value)]))
}

function isList (template: object): template is readonly JsonTemplate[] {
  return Array.isArray(template)
}
