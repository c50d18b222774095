import { Directory } from './caller/directory.js'
import { Pepper } from './caller/pepper.js'
import { SessionBook } from './caller/sessions.js'
import { systemClock, type Clock } from './clock.js'
import { adminTokenWarning } from './config/admin-token.js'
import type { Config } from './config/config.js'
import type { Control } from './control.js'
import type { CredentialTypes } from './credential/grants/custom.js'
import { Grants } from './credential/grants/index.js'
import { Principals } from './credential/principals.js'
import { follow } from './follow.js'
import { Generation, type Lasting } from './generation.js'
import { adminErrors, createAdmin } from './http/admin.js'
import { drain } from './http/drain.js'
import { createFront, frontErrors } from './http/front.js'
import { Listener } from './http/listener.js'
import { OpenCalls } from './http/open-calls.js'
import { LIMITS, type Limits } from './http/server.js'
import { SessionBinding } from './mcp/session-binding.js'
import { ToolPolicies } from './policy/tool-policy.js'
import { prepareReload, reasonOfRefusal, refusalOf, ReloadError } from './reload.js'
import { Room } from './room.js'
import { KeyedLock } from './state/keyed-lock.js'
import { openState } from './state/open.js'
import { Seal } from './state/seal.js'
import type { Vault } from './state/vault.js'
import type { Emit, RefreshEvent, ReloadCause, ValetEvent } from './telemetry/events.js'
import { createMetrics, type Metrics } from './telemetry/metrics.js'
import { RecentEvents } from './telemetry/recent.js'
import type { Tracing } from './telemetry/tracing.js'
import { VERSION } from './version.js'

/** Events with which the rules on tools may have changed. */
const CHANGES_RULES: ReadonlySet<ValetEvent['event']> = new Set(['principal_put', 'principal_deleted', 'reloaded'])

/** A sidecar that runs. */
export interface Sidecar extends Control {
  /** Where agents call: `http://127.0.0.1:8401`, or `unix:/path.sock`; an upstream's path goes behind it. */
  readonly proxyUrl: string
  readonly adminUrl: string
  /**
   * Goes on with another config, at once and for every call that comes from then on; what is under way ends under the one
   * before. One at a time. `listen`, `admin.listen` and `state` stay as they are.
   * @throws whatever `load` throws
   * @throws {ConfigError | ReloadError | SecretRefError | RangeError} where it cannot: nothing has changed then
   */
  reload (load: () => Promise<Config>, cause?: ReloadCause): Promise<void>
  /**
   * Takes up secrets that have changed where they are kept, under the config that there is. Session keys
   * that cannot be used leave their sessions as they were, and the others are taken up all the same.
   * @param sources as `SecretRef.source` has them
   * @throws as `reload`
   */
  secretsChanged (sources: readonly string[]): Promise<void>
  /**
   * Lets what is under way end, within the limits of `drain` in the config, and keeps what must be kept.
   * @param linger milliseconds for which idle connections are kept, as a call may be on its way on one; none unless given
   */
  close (options?: { readonly linger?: number }): Promise<void>
}

export interface SidecarOptions {
  /** Told of everything that happens; the log of the command is one such listener. */
  readonly onEvent?: (event: ValetEvent) => void
  /** Told of each token that was renewed, and of each renewal that was taken over from another sidecar. */
  readonly onRefresh?: (event: RefreshEvent) => void
  /** Told where an issuer says that a grant is over: somebody must log in again. */
  readonly onRevoked?: (event: RefreshEvent) => void
  /** Credential types of one's own, by the name that a credential of `type: custom` has in the config. */
  readonly credentialTypes?: CredentialTypes
  /** Makes spans of the calls. */
  readonly tracing?: Tracing | undefined
  readonly clock?: Clock
  readonly limits?: Partial<Limits>
}

/**
 * Puts the parts together and starts them. Resolves once both listeners accept calls.
 * @throws {StateError} where the state cannot be opened
 * @throws {ConfigError} where session keys of the config cannot be used
 * @throws {SecretRefError | RangeError} where the admin token cannot be used, or a credential type is not registered
 */
export async function createSidecar (config: Config, options: SidecarOptions = {}): Promise<Sidecar> {
  const clock = options.clock ?? systemClock
  const limits = { ...LIMITS, ...options.limits }
  const types = options.credentialTypes ?? {}
  const { vault, key, previousKeys } = await openState(config.state)
  const following = follow(vault, clock)
  const metrics = createMetrics(VERSION, () => principals.census(current.config.upstreams.keys(), clock.now()))
  const recent = new RecentEvents(clock)
  const emit = emitter(metrics, [(event) => recent.observe(event), (event) => { if (CHANGES_RULES.has(event.event)) calls.endOutdated() }, ...listenersOf(options)])
  const grants = new Grants(clock, types)
  const principals = new Principals({ configured: config.principals.values(), complete: config.complete, grants, vault, clock, emit })
  const calls = new OpenCalls({ clock, emit })
  const front = new Listener(limits, frontErrors(emit).clientErrorHandler)
  const admin = new Listener(limits, adminErrors(emit).clientErrorHandler)
  /** The one that calls come to, and before it those that still have some. */
  const generations = new Set<Generation>()
  let current: Generation
  let closing: Promise<void> | undefined
  let proxyUrl = ''
  const ending = new AbortController()

  function succeed (next: Generation): void {
    generations.add(next)
    current = next
    metrics.know([...next.config.upstreams.keys()])
  }

  function warm (): void {
    current.warm()
    void principals.warm()
  }

  async function end (): Promise<void> {
    following.stop()
    ending.abort()
    await Promise.all([principals.close(), ...[...generations].map(async (generation) => await generation.close())])
    admin.stopAccepting()
    admin.close()
    await vault.close()
  }

  async function shutDown (linger: number): Promise<void> {
    emit({ event: 'stopping' })
    await drain(front, calls, clock, current.config.drain, linger)
    await end()
    emit({ event: 'stopped' })
  }

  try {
    const pepper = await Pepper.open(vault, key)
    const { directory, sessions } = await openSessions({ config, vault, pepper, principals, clock, emit, calls })
    const lasting: Lasting = { vault, grants, principals, directory, sessions, calls, room: new Room(limits.room), limits, clock, emit, streams: new Map(), upstreamNow: (name) => current.config.upstreams.get(name) }
    const control: Control = { sessions, principals, credentials: principals.credentials }
    following.begin({ sessions, principals, pepper, emit, taken: calls.endOutdated.bind(calls) })
    warn(emit, await adminTokenWarning(config.admin.token))

    const goOn = async (next: Config): Promise<void> => {
      const { swap, refused, warning } = await prepareReload(current.config, next, { principals, sessions, types, clock })
      // Since it was asked for. One that came now would never end.
      if (closing !== undefined) throw new ReloadError('mcp-valet is stopping')
      const before = current
      const generation = new Generation(next, lasting, before)
      swap()
      succeed(generation)
      warm()
      warn(emit, warning)
      void before.retire().finally(() => generations.delete(before))
      if (refused !== undefined) throw refused
    }
    const turns = new KeyedLock()
    const reload: Sidecar['reload'] = async (load, cause = 'config') => await turns.run('reload', async () => {
      try {
        if (closing !== undefined) throw new ReloadError('mcp-valet is stopping')
        await goOn(await load())
      } catch (error) {
        emit({ event: 'reload_refused', cause, reason: reasonOfRefusal(error) })
        throw error
      }
      emit({ event: 'reloaded', cause, upstreams: [...current.config.upstreams.keys()], principals: current.config.principals.size })
    })
    succeed(new Generation(config, lasting))
    const policies = new ToolPolicies(principals.toolsOf.bind(principals))
    calls.rulesOf = ({ caller, upstream: name }, upstream = current.config.upstreams.get(name)) =>
      upstream === undefined ? undefined : policies.rulesFor(caller?.subject === undefined && caller !== undefined ? directory.current(caller) : caller, upstream)
    // Agents last, and nothing is renewed before: a refresh token must not be spent by a process that then finds a port taken.
    const adminUrl = await admin.listen(config.admin.listen, createAdmin({
      metrics,
      recent,
      control,
      clock,
      emit,
      ending: ending.signal,
      unready: () => closing !== undefined ? ['stopping'] : proxyUrl === '' ? ['starting'] : [],
      settings: () => current.admin,
      endpoints: () => ({ proxy: proxyUrl, header: current.config.callers.header, upstreams: [...current.config.upstreams.values()] }),
    }))
    proxyUrl = await front.listen(config.listen, createFront({
      ...lasting,
      routing: () => current.routing,
      policyFor: policies.find.bind(policies),
      binding: new SessionBinding(new Seal(key, previousKeys, 'binding')),
      tracing: options.tracing,
    }))
    warm()
    emit({ event: 'listening', proxy: proxyUrl, admin: adminUrl, upstreams: [...config.upstreams.keys()], principals: config.principals.size })
    return {
      proxyUrl,
      adminUrl,
      ...control,
      reload,
      async secretsChanged (sources) {
        try {
          await reload(async () => current.config, 'secrets')
        } finally {
          // One agent's key that is no good keeps no principal's token from being taken up.
          await principals.sourcesChanged(sources)
        }
      },
      close: async ({ linger = 0 } = {}) => { await (closing ??= shutDown(linger)) },
    }
  } catch (error) {
    front.close()
    await end().catch(() => {})
    throw error
  }
}

/** Tells the metrics and everybody who listens. */
function emitter (metrics: Metrics, listeners: ReadonlyArray<(event: ValetEvent) => void>): Emit {
  return (event) => {
    metrics.observe(event)
    for (const listener of listeners) {
      try {
        listener(event)
      } catch {
        // A listener that fails is no reason for a call to fail.
      }
    }
  }
}

function warn (emit: Emit, reason: string | undefined): void {
  if (reason !== undefined) emit({ event: 'warning', reason })
}

async function openSessions ({ config, vault, pepper, principals, clock, emit, calls }: {
  config: Config, vault: Vault, pepper: Pepper, principals: Principals, clock: Clock, emit: Emit, calls: OpenCalls
}): Promise<{ directory: Directory, sessions: SessionBook }> {
  const directory = new Directory(pepper.key, clock)
  const sessions = new SessionBook({ directory, vault, principals, clock, emit })
  directory.onClosed = ({ id }, expired) => expired ? sessions.forget(id) : calls.endSession(id)
  principals.onGone = async (id, ended) => ended ? await sessions.revokeAll(id) : sessions.missAll(id)
  await principals.load()
  await sessions.load()
  const drafts = await sessions.draft(config.sessions, false)
  if (drafts.wrong.length > 0) throw refusalOf(config, drafts)
  sessions.configure(drafts, config.sessions)
  for (const agent of sessions.revokedAgents) emit({ event: 'warning', reason: `the session key of agent ${JSON.stringify(agent)} was revoked and stays so: give the agent a new one, or take the session out of the config` })
  return { directory, sessions }
}

function listenersOf ({ onEvent, onRefresh, onRevoked, tracing }: SidecarOptions): Array<(event: ValetEvent) => void> {
  const refresh = (outcomes: ReadonlySet<RefreshEvent['outcome']>, listener: ((event: RefreshEvent) => void) | undefined) =>
    (event: ValetEvent) => { if (event.event === 'refresh' && outcomes.has(event.outcome)) listener?.(event) }
  const listeners = [(event: ValetEvent) => onEvent?.(event), refresh(new Set(['ok', 'adopted']), onRefresh), refresh(new Set(['revoked']), onRevoked)]
  if (tracing !== undefined) listeners.push((event) => { if (event.event === 'refresh') tracing.refreshed(event) })
  return listeners
}
