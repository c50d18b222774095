import type { Config, PrincipalConfig, SecretRef, SessionConfig, StateConfig, TlsConfig, TokenExchangeConfig, ToolRules, UpstreamConfig } from './config.js'
import { credentialFindings, mergeCredential } from './credential.js'
import { exchangesCallersJwt } from './exchange.js'
import { credentialCompleter } from './given-credential.js'
import { DEFAULT_ADMIN_LISTEN, DEFAULT_LISTEN, readListen } from './listen.js'
import { defaultPath } from './mounts.js'
import { answerPattern } from './refusing-answers.js'
import { resolveCallers } from './resolve-callers.js'
import { resolveCredential } from './resolve-credential.js'
import type { RawConfig, RawUpstream } from './schema.js'
import type { RawCredential } from './schema-credential.js'
import { type SecretSource, secretRef } from './secret-ref.js'
import { DEFAULT_REDIS_PREFIX } from './semantics.js'
import { parseDuration, parseSize } from './units.js'
import { readMountPath, readTimestamp } from './values.js'

const DEFAULT_HEADERS = { Authorization: 'Bearer {token}', 'X-API-KEY': '{token}' }

/** Fills in every default of a config that was checked. @param env where secrets of kind `env` are, read when needed */
export function resolveConfig (raw: RawConfig, env: NodeJS.ProcessEnv): Config {
  const upstreams = new Map(Object.entries(raw.upstreams).map(([name, upstream]) => [name, resolveUpstream(name, upstream, raw.callers?.jwt !== undefined, env)]))
  return {
    listen: readListen(raw.listen ?? DEFAULT_LISTEN),
    admin: {
      listen: readListen(raw.admin?.listen ?? DEFAULT_ADMIN_LISTEN),
      token: raw.admin?.token === undefined ? undefined : secretRef(raw.admin.token, { env }),
    },
    callers: resolveCallers(raw.callers),
    drain: { callsMs: parseDuration(raw.drain?.calls ?? '20s'), streamsMs: parseDuration(raw.drain?.streams ?? '5s') },
    state: resolveState(raw.state, env),
    upstreams,
    principals: new Map(Object.keys(raw.principals ?? {}).map((id) => [id, resolvePrincipal(id, raw, upstreams, env)])),
    sessions: (raw.sessions ?? []).map((session): SessionConfig => ({
      principal: session.principal,
      agent: session.agent,
      key: secretRef(session.key, { env }),
      expiresAt: session.expires_at === undefined ? undefined : readTimestamp(session.expires_at),
      tools: resolveTools(session.tools),
    })),
    complete: credentialCompleter(raw, env),
  }
}

function resolveState (state: RawConfig['state'], env: NodeJS.ProcessEnv): StateConfig {
  if (state?.driver === 'memory') return { driver: 'memory' }
  const key = state?.key === undefined ? undefined : secretRef(state.key, { env })
  const previousKeys = (state?.previous_keys ?? []).map((from) => secretRef(from, { env }))
  if (state?.driver !== 'redis') return { driver: 'lmdb', path: state?.path ?? './var/state', key, previousKeys }
  return {
    driver: 'redis',
    // That these two are there has been checked.
    url: secretRef(state.url as SecretSource, { env }),
    key: key as SecretRef,
    prefix: state.prefix ?? DEFAULT_REDIS_PREFIX,
    tls: resolveTls(state.tls, env),
    previousKeys,
  }
}

/** @param jwts whether callers may show a JWT */
function resolveUpstream (name: string, raw: RawUpstream, jwts: boolean, env: NodeJS.ProcessEnv): UpstreamConfig {
  return {
    name,
    url: new URL(raw.url),
    path: readMountPath(raw.path ?? defaultPath(name)),
    headers: new Map(Object.entries(raw.headers ?? DEFAULT_HEADERS)),
    anonymous: new Set(raw.anonymous),
    refreshOn: new Set(raw.refresh_on ?? [401, 403]),
    refreshOnAnswer: (raw.refresh_on_answer ?? []).map(answerPattern),
    replays: raw.replays ?? 2,
    backoff: { baseMs: parseDuration(raw.backoff?.base ?? '100ms'), maxMs: parseDuration(raw.backoff?.max ?? '2s') },
    deadlineMs: parseDuration(raw.deadline ?? '30s'),
    timeouts: {
      connectMs: parseDuration(raw.timeouts?.connect ?? '5s'),
      headersMs: parseDuration(raw.timeouts?.headers ?? '120s'),
      idleMs: raw.timeouts?.idle === undefined || raw.timeouts.idle === 0 ? 0 : parseDuration(raw.timeouts.idle),
    },
    bodyLimit: parseSize(raw.body_limit ?? '4MiB'),
    tls: resolveTls(raw.tls, env),
    tools: resolveTools(raw.tools) ?? { allow: ['*'], deny: [] },
    credential: raw.credential,
    subjectCredential: jwts ? resolveSubjectCredential(raw, env) : undefined,
  }
}

function resolveSubjectCredential ({ credential, url }: RawUpstream, env: NodeJS.ProcessEnv): TokenExchangeConfig | undefined {
  if (credential === undefined || credentialFindings(undefined, { ...credential }, []).length > 0) return undefined
  const config = resolveCredential(credential, new URL(url), url, env)
  return exchangesCallersJwt(config) ? config : undefined
}

function resolveTools (raw: RawUpstream['tools']): ToolRules | undefined {
  return raw === undefined ? undefined : { allow: raw.allow ?? ['*'], deny: raw.deny ?? [] }
}

function resolveTls (tls: RawUpstream['tls'], env: NodeJS.ProcessEnv): TlsConfig {
  const pem = (from: string | SecretSource | undefined, shared: boolean) => from === undefined
    ? undefined
    : secretRef(typeof from === 'string' ? { file: from } : from, { env, multiline: true, shared })
  return { ca: pem(tls?.ca, true), cert: pem(tls?.cert, true), key: pem(tls?.key, false), serverName: tls?.server_name }
}

function resolvePrincipal (id: string, raw: RawConfig, upstreams: Config['upstreams'], env: NodeJS.ProcessEnv): PrincipalConfig {
  const credentials = Object.entries(raw.principals?.[id]?.credentials ?? {}).map(([name, own]) => {
    const upstream = raw.upstreams[name] as RawUpstream
    const merged = mergeCredential(upstream.credential, own as Record<string, unknown>) as RawCredential
    return [name, resolveCredential(merged, upstreams.get(name)?.url as URL, upstream.url, env)] as const
  })
  return { id, credentials: new Map(credentials), tools: resolveTools(raw.principals?.[id]?.tools) }
}
