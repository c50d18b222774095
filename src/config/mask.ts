import type { Config, CredentialConfig, JsonTemplate, OAuthClientConfig, SecretRef, StateConfig, TlsConfig, UpstreamConfig } from './config.js'
import { formatListen } from './listen.js'
import { formatDuration, formatSize } from './units.js'

/**
 * The config that is in effect, in the shape of the file: its key names, every default filled in. Secrets are shown as
 * where they are kept, `{ env: NAME }`; of a command only the program, as arguments may be secret; of a URL's query
 * only that there is one.
 * @returns plain data, for YAML or JSON
 */
export function effectiveConfig (config: Config): Record<string, unknown> {
  return {
    listen: formatListen(config.listen),
    admin: { listen: formatListen(config.admin.listen), ...some('token', config.admin.token) },
    callers: {
      header: config.callers.header,
      hosts: [...config.callers.hosts],
      origins: [...config.callers.origins],
      relay_authorization: config.callers.relayAuthorization,
    },
    state: maskState(config.state),
    upstreams: mapped(config.upstreams, maskUpstream),
    principals: mapped(config.principals, (principal) => ({ credentials: mapped(principal.credentials, maskCredential) })),
    sessions: config.sessions.map(({ principal, agent, key, expiresAt }) => ({
      principal, agent, key: place(key), ...(expiresAt === undefined ? {} : { expires_at: new Date(expiresAt).toISOString() }),
    })),
  }
}

function maskState (state: StateConfig) {
  if (state.driver === 'memory') return { driver: state.driver }
  const previous = state.previousKeys.length === 0 ? {} : { previous_keys: state.previousKeys.map(place) }
  if (state.driver === 'lmdb') return { driver: state.driver, path: state.path, ...some('key', state.key), ...previous }
  return { driver: state.driver, url: place(state.url), prefix: state.prefix, ...maskTls(state.tls), key: place(state.key), ...previous }
}

function maskTls (tls: TlsConfig) {
  const own = {
    ...some('ca', tls.ca), ...some('cert', tls.cert), ...some('key', tls.key), ...(tls.serverName === undefined ? {} : { server_name: tls.serverName }),
  }
  return Object.keys(own).length === 0 ? {} : { tls: own }
}

function maskUpstream (upstream: UpstreamConfig) {
  const { backoff, timeouts, tls } = upstream
  return {
    url: address(upstream.url),
    path: upstream.path,
    headers: Object.fromEntries(upstream.headers),
    anonymous: [...upstream.anonymous],
    refresh_on: [...upstream.refreshOn],
    replays: upstream.replays,
    backoff: { base: formatDuration(backoff.baseMs), max: formatDuration(backoff.maxMs) },
    deadline: formatDuration(upstream.deadlineMs),
    timeouts: {
      connect: formatDuration(timeouts.connectMs),
      headers: formatDuration(timeouts.headersMs),
      idle: timeouts.idleMs === 0 ? 0 : formatDuration(timeouts.idleMs),
    },
    body_limit: formatSize(upstream.bodyLimit),
    ...maskTls(tls),
  }
}

function maskCredential (credential: CredentialConfig): Record<string, unknown> {
  switch (credential.type) {
    case 'api_token':
      return { type: credential.type, token: place(credential.token) }
    case 'refresh_token':
      return {
        type: credential.type, ...maskClient(credential), refresh_token: place(credential.refreshToken), ...some('access_token', credential.accessToken),
      }
    case 'client_credentials':
      return { type: credential.type, ...maskClient(credential) }
    case 'json_refresh':
      return {
        type: credential.type,
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

function maskClient (client: OAuthClientConfig) {
  return {
    ...(client.issuer === undefined ? {} : { issuer: address(client.issuer) }),
    ...(client.tokenEndpoint === undefined ? {} : { token_endpoint: address(client.tokenEndpoint) }),
    client_id: client.clientId,
    ...some('client_secret', client.clientSecret),
    client_auth: client.clientAuth,
    ...(client.scope === undefined ? {} : { scope: client.scope }),
    resource: client.resource,
  }
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

/** Whether a template's leaf is a reference: a template from YAML holds no functions. */
export function isSecretRef (template: object): template is SecretRef {
  return 'read' in template && typeof template.read === 'function'
}

/** `env NAME` → `{ env: 'NAME' }`. */
function place (ref: SecretRef): Record<string, unknown> {
  const at = ref.source.indexOf(' ')
  const [kind, name] = [ref.source.slice(0, at), ref.source.slice(at + 1)]
  return { [kind]: kind === 'command' ? [name, '…'] : name }
}

function some (key: string, ref: SecretRef | undefined) {
  return ref === undefined ? {} : { [key]: place(ref) }
}

function address (url: URL): string {
  return url.search === '' ? url.href : `${url.href.slice(0, -url.search.length)}?…`
}

/** `Object.fromEntries` defines keys instead of assigning them, so `__proto__` is one like any other. */
function mapped<T, R> (map: ReadonlyMap<string, T>, show: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([key, value]) => [key, show(value)]))
}
