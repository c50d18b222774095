import type { Config, RefreshTokenConfig, SecretRef, TokenEndpointConfig, UpstreamConfig } from '../config/config.js'
import { readPrincipalName } from '../config/names.js'
import { ValueError } from '../config/problem.js'
import { readIssuer } from '../config/url.js'
import { readHeaderText, readScope } from '../config/values.js'
import { ControlError } from '../control.js'
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
  /** Undefined where none is to be sent. */
  readonly resource: string | undefined
  /** What the login will put aside: what the config has for this principal and upstream, if that is of another type. */
  readonly replaces: string | undefined
}

/** How a client proves that it is the one (RFC 6749 §2.3). */
export type ClientProof = Pick<TokenEndpointConfig, 'clientSecret' | 'clientKey' | 'clientAuth'>

export interface NamedClient {
  readonly id: string
  readonly by: 'config' | 'flag'
  readonly proof: ClientProof
  /** A secret that has to be stored with the tokens; the upstream's defaults give theirs to each credential there. */
  readonly keep: SecretRef | undefined
}

/**
 * Reads flags and config together. A flag may add to the config and not contradict it where a secret hangs on it.
 * @throws {LoginError}
 */
export function planOf (config: Config, flags: LoginFlags): Plan {
  const upstream = config.upstreams.get(flags.upstream)
  if (upstream === undefined) throw new LoginError(`the config has no upstream of that name: it has ${[...config.upstreams.keys()].join(', ')}`)
  const principal = read('--principal', flags.principal, readPrincipalName) as string
  const defaults = defaultsOf(config, upstream)
  const own = config.principals.get(principal)?.credentials.get(upstream.name)
  const said = own?.type === 'refresh_token' ? own : defaults
  const issuer = read('--issuer', flags.issuer, readIssuer)
  if (issuer !== undefined && (said.tokenEndpoint !== undefined || (said.issuer !== undefined && said.issuer.href !== issuer.href))) {
    throw new LoginError('--issuer contradicts the config, which says where this upstream\'s tokens come from: change it there')
  }
  const client = clientOf(said, defaults, read('--client-id', flags.clientId, readHeaderText))
  // Metadata that an upstream leads to could name a token endpoint that we trust, and beside it a place that we should not.
  if (client !== undefined && isSecret(client.proof) && said.issuer === undefined) {
    throw new LoginError('the config has a secret or a key of the client, and names a token_endpoint: put issuer in its place, so that a login shows them to nobody else')
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

/** What whoever logs in here gets from the upstream's defaults. */
function defaultsOf (config: Config, { name }: UpstreamConfig): RefreshTokenConfig {
  try {
    return config.complete(name, { type: 'refresh_token' }) as RefreshTokenConfig
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    throw new LoginError(`the credential of the upstream ${name} in the config cannot be used to log in: ${error.details.map(({ path, message }) => `${path} ${message}`).join('; ')}`)
  }
}

function clientOf (said: RefreshTokenConfig, defaults: RefreshTokenConfig, flag: string | undefined): NamedClient | undefined {
  const { clientId, clientSecret, clientKey, clientAuth } = said
  const proof: ClientProof = { clientSecret, clientKey, clientAuth }
  if (flag !== undefined && flag !== clientId && isSecret(proof)) {
    throw new LoginError('--client-id names another client than the config, whose secret or key would go with it: change both there')
  }
  const id = flag ?? clientId
  if (id === undefined) return undefined
  if (clientKey !== undefined && clientKey.key.source !== defaults.clientKey?.key.source) {
    throw new LoginError('the client_key is the principal\'s own, and what a login keeps holds no key: put client_key into the upstream\'s credential in the config')
  }
  return { id, by: flag === undefined ? 'config' : 'flag', proof, keep: clientSecret?.source === defaults.clientSecret?.source ? undefined : clientSecret }
}

function isSecret ({ clientSecret, clientKey }: ClientProof): boolean {
  return clientSecret !== undefined || clientKey !== undefined
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
