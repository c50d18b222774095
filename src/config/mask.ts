import type { Config, StateConfig, TlsConfig, ToolRules, UpstreamConfig } from './config.js'
import type { JwtCallersConfig } from './jwt-config.js'
import { formatListen } from './listen.js'
import { maskCredential } from './mask-credential.js'
import { address, mapped, place, some } from './mask-parts.js'
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
      ...(config.callers.jwt === undefined ? {} : { jwt: maskJwt(config.callers.jwt) }),
    },
    drain: { calls: formatDuration(config.drain.callsMs), streams: formatDuration(config.drain.streamsMs) },
    state: maskState(config.state),
    upstreams: mapped(config.upstreams, maskUpstream),
    principals: mapped(config.principals, (principal) => ({ ...tools(principal.tools), credentials: mapped(principal.credentials, maskCredential) })),
    sessions: config.sessions.map(({ principal, agent, key, tools: rules, expiresAt }) => ({
      principal, agent, key: place(key), ...tools(rules), ...(expiresAt === undefined ? {} : { expires_at: new Date(expiresAt).toISOString() }),
    })),
  }
}

function maskJwt ({ issuer, audience, jwksUri, principalClaim, agentClaim, algorithms, clockToleranceMs }: JwtCallersConfig) {
  return {
    issuer,
    audience: [...audience],
    ...(jwksUri === undefined ? {} : { jwks_uri: address(jwksUri) }),
    principal_claim: principalClaim,
    ...(agentClaim === undefined ? {} : { agent_claim: agentClaim }),
    algorithms: [...algorithms],
    clock_tolerance: formatDuration(clockToleranceMs),
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
    refresh_on_answer: [...upstream.refreshOnAnswer],
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
    ...tools(upstream.tools),
    ...(upstream.subjectCredential === undefined ? {} : { credential: maskCredential(upstream.subjectCredential) }),
  }
}

function tools (rules: ToolRules | undefined) {
  return rules === undefined ? {} : { tools: { allow: [...rules.allow], deny: [...rules.deny] } }
}
