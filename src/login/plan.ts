import type { Config, OAuthClientConfig, RefreshTokenConfig, SecretRef, UpstreamConfig } from '../config/config.js'
import { mergeCredential } from '../config/credential.js'
import { readPrincipalName } from '../config/names.js'
import { ValueError } from '../config/problem.js'
import type { RawCredential } from '../config/schema-credential.js'
import { secretRef } from '../config/secret-ref.js'
import { readHttpUrl, readIssuer } from '../config/url.js'
import { readHeaderText, readScope } from '../config/values.js'
import { LoginError } from './problem.js'

/** What a person asks for at the command line. */
export interface LoginFlags {
  readonly principal: string
  readonly upstream: string
  readonly issuer?: string | undefined
  readonly clientId?: string | undefined
  readonly scope?: string | undefined
}

/** Who is to log in where, and what the config and the flags say of it before anybody is asked. */
export interface Plan {
  readonly principal: string
  readonly upstream: UpstreamConfig
  /** Named by a person: in the config or by a flag. */
  readonly issuer: URL | undefined
  /** In the config in place of an issuer: the one that is found must have it. */
  readonly tokenEndpoint: URL | undefined
  readonly client: NamedClient | undefined
  readonly scope: string | undefined
  readonly resource: string | undefined
  /** What the login will put aside: what the config has for this principal and upstream, if that is of another type. */
  readonly replaces: string | undefined
}

export interface NamedClient {
  readonly id: string
  readonly by: 'config' | 'flag'
  readonly secret: SecretRef | undefined
  /** The upstream's defaults give this secret to each credential there, so that it need not be stored with one. */
  readonly secretIsDefault: boolean
  readonly auth: OAuthClientConfig['clientAuth']
}

/** The part of a credential that a login can use. */
interface Named {
  readonly issuer: URL | undefined
  readonly tokenEndpoint: URL | undefined
  readonly clientId: string | undefined
  readonly secret: SecretRef | undefined
  readonly auth: string | undefined
  readonly scope: string | undefined
  readonly resource: string | undefined
}

/**
 * Reads flags and config together. A flag may add to the config and not contradict it where a secret hangs on it.
 * @throws {LoginError}
 */
export function planOf (config: Config, flags: LoginFlags, env: NodeJS.ProcessEnv): Plan {
  const upstream = config.upstreams.get(flags.upstream)
  if (upstream === undefined) throw new LoginError(`the config has no upstream of that name: it has ${[...config.upstreams.keys()].join(', ')}`)
  const principal = read('--principal', flags.principal, readPrincipalName) as string
  const defaults = named(mergeCredential(upstream.credential, { type: 'refresh_token' }), env)
  const own = config.principals.get(principal)?.credentials.get(upstream.name)
  const said = own?.type === 'refresh_token' ? ownNamed(own) : defaults
  const issuer = read('--issuer', flags.issuer, readIssuer)
  if (issuer !== undefined && (said.tokenEndpoint !== undefined || (said.issuer !== undefined && said.issuer.href !== issuer.href))) {
    throw new LoginError('--issuer contradicts the config, which says where this upstream\'s tokens come from: change it there')
  }
  const client = clientOf(said, read('--client-id', flags.clientId, readHeaderText), defaults.secret)
  // Whoever an upstream names gets no secret of ours.
  if (client?.secret !== undefined && issuer === undefined && said.issuer === undefined) {
    throw new LoginError('the config has a client_secret and does not say whose it is: put issuer beside it, in place of a token_endpoint')
  }
  return {
    principal,
    upstream,
    issuer: issuer ?? said.issuer,
    tokenEndpoint: said.tokenEndpoint,
    client,
    scope: read('--scope', flags.scope, readScope) ?? said.scope,
    resource: said.resource,
    replaces: own === undefined || own.type === 'refresh_token' ? undefined : own.type,
  }
}

function named (raw: RawCredential, env: NodeJS.ProcessEnv): Named {
  return {
    issuer: raw.issuer === undefined ? undefined : readIssuer(raw.issuer),
    tokenEndpoint: raw.token_endpoint === undefined ? undefined : readHttpUrl(raw.token_endpoint),
    clientId: raw.client_id,
    secret: raw.client_secret === undefined ? undefined : secretRef(raw.client_secret, { env }),
    auth: raw.client_auth,
    scope: raw.scope,
    resource: raw.resource,
  }
}

function ownNamed (own: RefreshTokenConfig): Named {
  return { ...own, secret: own.clientSecret, auth: own.clientAuth }
}

function clientOf (said: Named, flag: string | undefined, defaultSecret: SecretRef | undefined): NamedClient | undefined {
  if (flag !== undefined && said.secret !== undefined && said.clientId !== undefined && flag !== said.clientId) {
    throw new LoginError('--client-id names another client than the config, whose client_secret would go with it: change both there')
  }
  const id = flag ?? said.clientId
  if (id === undefined) {
    if (said.secret === undefined) return undefined
    throw new LoginError('the config has a client_secret and no client_id: put client_id beside it, or name it with --client-id')
  }
  const auth = said.auth ?? (said.secret === undefined ? 'none' : 'client_secret_basic')
  if (auth !== 'none' && auth !== 'client_secret_basic' && auth !== 'client_secret_post') {
    throw new LoginError(`login cannot prove the client by client_auth ${auth}: give this upstream a client with a client_secret, or without any`)
  }
  return { id, by: flag === undefined ? 'config' : 'flag', secret: said.secret, secretIsDefault: said.secret?.source === defaultSecret?.source, auth }
}

/** @throws {LoginError} that says which flag it is, and what is expected of it */
function read<T> (flag: string, text: string | undefined, reader: (text: string) => T): T | undefined {
  if (text === undefined) return undefined
  try {
    return reader(text)
  } catch (error) {
    if (error instanceof ValueError) throw new LoginError(`${flag}: ${error.message}`)
    throw error
  }
}
