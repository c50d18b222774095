import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { Control } from '../../src/control.js'
import { createAdmin } from '../../src/http/admin.js'
import { createGuard } from '../../src/caller/guard.js'
import type { AdminOptions, AdminSettings } from '../../src/http/admin/options.js'
import { Secret } from '../../src/secret.js'
import type { ValetEvent } from '../../src/telemetry/events.js'
import { createMetrics } from '../../src/telemetry/metrics.js'
import { RecentEvents } from '../../src/telemetry/recent.js'
import { mintToken } from './mint.js'
import { testClock } from './clock.js'

export interface AdminUnderTest {
  readonly app: FastifyInstance
  readonly token: string
  readonly events: ValetEvent[]
  /** The header that opens it. */
  readonly headers: { readonly authorization: string }
}

const refuses = (): never => { throw new Error('the test did not expect to come here') }

/** A control that refuses everything but what the test gives it. */
export function controlOf (given: { [Part in keyof Control]?: Partial<Control[Part]> } = {}): Control {
  return {
    sessions: { create: refuses, revoke: refuses, list: refuses, ...given.sessions },
    principals: { put: refuses, putCredential: refuses, delete: refuses, list: refuses, ...given.principals },
    credentials: { list: refuses, refresh: refuses, ...given.credentials },
  }
}

/** The admin listener alone, before a control of the test's own; closed when the test ends. @param of what its config says */
export function adminAlone (t: Test, given: Partial<AdminOptions> = {}, of: Partial<AdminSettings> = {}): AdminUnderTest {
  const token = mintToken()
  const settings: AdminSettings = {
    token: { source: 'env VALET_ADMIN_TOKEN', read: async () => new Secret(token) },
    guard: createGuard({ header: 'x-session-key', hosts: [], origins: [], relayAuthorization: false, jwt: undefined }, { host: '127.0.0.1', port: 0 }),
    ...of,
  }
  const events: ValetEvent[] = []
  const app = createAdmin({
    metrics: createMetrics('0', () => []),
    recent: new RecentEvents(testClock()),
    ending: new AbortController().signal,
    unready: () => [],
    // Nothing but its timers keeps a test going that calls by inject.
    clock: { ...testClock(), after: (ms, callback) => { const timer = setTimeout(callback, ms / 100); return () => clearTimeout(timer) } },
    emit: (event) => { events.push(event) },
    control: controlOf(),
    settings: () => settings,
    endpoints: () => ({ proxy: 'http://127.0.0.1:8401', header: 'x-session-key', upstreams: [] }),
    ...given,
  })
  t.teardown(async () => await app.close())
  return { app, token, events, headers: { authorization: `Bearer ${token}` } }
}
