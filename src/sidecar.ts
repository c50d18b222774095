import { Directory } from './caller/directory.js'
import { JwtCallers } from './caller/jwt.js'
import { SessionBook } from './caller/sessions.js'
import { systemClock, type Clock } from './clock.js'
import { AdminTokenError, readAdminToken } from './config/admin-token.js'
import type { Config } from './config/config.js'
import type { Control } from './control.js'
import type { CredentialSource } from './credential/credential.js'
import type { CredentialTypes } from './credential/grants/custom.js'
import { Principals } from './credential/principals.js'
import { Subjects } from './credential/subjects.js'
import type { Caller } from './exchange.js'
import { follow } from './follow.js'
import { createAdmin } from './http/admin.js'
import { drain } from './http/drain.js'
import { createFront } from './http/front.js'
import { OpenCalls } from './http/open-calls.js'
import { LIMITS, listen, type Limits } from './http/server.js'
import { SessionBinding } from './mcp/session-binding.js'
import { ToolPolicies } from './policy/tool-policy.js'
import { openState } from './state/open.js'
import { Seal } from './state/seal.js'
import type { RefreshEvent, ValetEvent } from './telemetry/events.js'
import { createMetrics } from './telemetry/metrics.js'
import { VERSION } from './version.js'

/** A sidecar that runs. */
export interface Sidecar extends Control {
  /** Where agents call: `http://127.0.0.1:8401`, or `unix:/path.sock`; an upstream's path goes behind it. */
  readonly proxyUrl: string
  readonly adminUrl: string
  /** Ends calls under way and keeps what must be kept. */
  close (): Promise<void>
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
  readonly clock?: Clock
  readonly limits?: Partial<Limits>
}

/**
 * Puts the parts together and starts them. Resolves once both listeners accept calls.
 * @throws {StateError} where the state cannot be opened
 * @throws {SecretRefError | RangeError} where a session key or the admin token of the config cannot be used, or a
 *   credential type is not registered
 */
export async function createSidecar (config: Config, options: SidecarOptions = {}): Promise<Sidecar> {
  const clock = options.clock ?? systemClock
  const limits = { ...LIMITS, ...options.limits }
  const { vault, key, previousKeys } = await openState(config.state)
  const binding = new SessionBinding(new Seal(key, previousKeys, 'binding'))
  const upstreams = [...config.upstreams.keys()]
  const metrics = createMetrics(VERSION, upstreams, () => principals.census(upstreams, clock.now()))
  const listeners = listenersOf(options)
  const emit = (event: ValetEvent): void => {
    metrics.observe(event)
    for (const listener of listeners) {
      try {
        listener(event)
      } catch {
        // A listener that fails is no reason for a call to fail.
      }
    }
  }
  const principals = new Principals({ configured: config.principals.values(), complete: config.complete, types: options.credentialTypes ?? {}, vault, clock, emit })
  const subjects = new Subjects({ config, vault, clock, emit })
  const jwts = config.callers.jwt === undefined ? undefined : new JwtCallers(config.callers.jwt, clock, emit)
  const calls = new OpenCalls({ clock, emit })
  const parts = { config, vault, principals, clock, emit, calls }
  const closers: Array<() => Promise<void>> = [async () => await vault.close(), async () => await principals.close(), async () => await subjects.close()]
  let closing: Promise<void> | undefined
  let proxyUrl = ''
  try {
    const { directory, sessions } = await openSessions(parts)
    const policies = new ToolPolicies(principals.toolsOf.bind(principals))
    const keys = { find: directory.find.bind(directory), seek: config.state.driver === 'memory' ? undefined : sessions.seek.bind(sessions) }
    const credentialFor = (caller: Caller, upstream: string): CredentialSource | undefined => principals.find(caller.principal, upstream) ?? subjects.find(caller, upstream)
    const front = createFront({ config, keys, jwts, credentialFor, policyFor: policies.find.bind(policies), binding, clock, emit, limits, calls })
    const control: Control = { sessions, principals, credentials: principals.credentials }
    const admin = createAdmin({
      limits,
      metrics,
      unready: () => closing === undefined ? [] : ['stopping'],
      clock,
      emit,
      control,
      token: config.admin.token,
      callers: config.callers,
      listen: config.admin.listen,
      endpoints: () => ({ proxy: proxyUrl, header: config.callers.header, upstreams: [...config.upstreams.values()] }),
    })
    closers.push(async () => await admin.close(), async () => await front.close())
    const stopFollowing = follow(vault, { sessions, principals, emit })
    closers.push(async () => stopFollowing())

    const shutDown = async (): Promise<void> => {
      emit({ event: 'stopping' })
      await drain(front, calls, clock, limits.grace)
      stopFollowing()
      await Promise.all([principals.close(), subjects.close()])
      await drain(admin, { underWay: 0 }, clock, 0)
      await vault.close()
      emit({ event: 'stopped' })
    }
    await checkAdminToken(config.admin.token, emit)
    proxyUrl = await listen(front, config.listen)
    const adminUrl = await listen(admin, config.admin.listen)
    void principals.warm()
    void jwts?.warm()
    emit({ event: 'listening', proxy: proxyUrl, admin: adminUrl, upstreams, principals: config.principals.size })
    return { proxyUrl, adminUrl, ...control, close: async () => { await (closing ??= shutDown()) } }
  } catch (error) {
    for (const close of closers.reverse()) await close().catch(() => {})
    throw error
  }
}

async function openSessions ({ config, vault, principals, clock, emit, calls }: {
  config: Config, vault: Awaited<ReturnType<typeof openState>>['vault'], principals: Principals, clock: Clock, emit: (event: ValetEvent) => void, calls: OpenCalls
}): Promise<{ directory: Directory, sessions: SessionBook }> {
  const directory = new Directory(await SessionBook.pepper(vault), clock)
  const sessions = new SessionBook({ directory, vault, principals, clock, emit })
  directory.onClosed = ({ id }, expired) => expired ? sessions.forget(id) : calls.endSession(id)
  principals.onGone = async (id) => await sessions.revokeAll(id)
  await principals.load()
  await sessions.load()
  for (const session of config.sessions) sessions.configure(session, await session.key.read())
  return { directory, sessions }
}

/**
 * One that is there must be fit for it, from the start. One that is not there yet is no reason not to serve agents: the
 * admin API says so, and the log, until it comes.
 * @throws {AdminTokenError}
 */
async function checkAdminToken (token: Config['admin']['token'], emit: (event: ValetEvent) => void): Promise<void> {
  try {
    if (token !== undefined) await readAdminToken(token)
  } catch (error) {
    if (error instanceof AdminTokenError) throw error
    emit({ event: 'warning', reason: `the admin API answers 503 until its token can be read: ${(error as Error).message}` })
  }
}

function listenersOf ({ onEvent, onRefresh, onRevoked }: SidecarOptions): Array<(event: ValetEvent) => void> {
  const refresh = (outcomes: ReadonlySet<RefreshEvent['outcome']>, listener: ((event: RefreshEvent) => void) | undefined) =>
    (event: ValetEvent) => { if (event.event === 'refresh' && outcomes.has(event.outcome)) listener?.(event) }
  return [(event) => onEvent?.(event), refresh(new Set(['ok', 'adopted']), onRefresh), refresh(new Set(['revoked']), onRevoked)]
}
