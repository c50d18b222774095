import type { Test } from 'tap'
import type { ToolRules } from '../../src/config/config.js'
import { loadConfigText } from '../../src/config/load.js'
import { createSidecar, type Sidecar, type SidecarOptions } from '../../src/sidecar.js'
import type { ValetEvent } from '../../src/telemetry/events.js'

export interface TestSidecar extends Sidecar {
  /** Every event so far, in order. */
  readonly events: ValetEvent[]
  /** A session key of this principal. */
  keyFor (principal: string, agent?: string, tools?: Partial<ToolRules>): Promise<string>
  /** Resolves with the first event that fits, from the past or the future; rejects after 10 s. */
  until<E extends ValetEvent> (fits: (event: ValetEvent) => event is E): Promise<E>
  until (fits: (event: ValetEvent) => boolean): Promise<ValetEvent>
  metrics (): Promise<string>
}

export interface StartOptions extends SidecarOptions {
  /** What the config's `{ env: … }` references find. */
  readonly env?: Record<string, string>
}

const LISTEN = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n'

/**
 * Runs a sidecar in this process on free ports, with in-memory state unless the config says otherwise, and closes it
 * when the test ends.
 * @param yaml the config without `listen`, `admin` and, if it may be memory, `state`
 */
export async function startSidecar (t: Test, yaml: string, options: StartOptions = {}): Promise<TestSidecar> {
  const { env = {}, ...rest } = options
  const state = /^state:/m.test(yaml) ? '' : 'state: { driver: memory }\n'
  const listen = /^listen:/m.test(yaml) ? '' : LISTEN
  const config = loadConfigText(listen + state + yaml, { env })
  const events: ValetEvent[] = []
  const watchers = new Set<(event: ValetEvent) => void>()
  const sidecar = await createSidecar(config, {
    ...rest,
    onEvent (event) {
      events.push(event)
      rest.onEvent?.(event)
      for (const watcher of watchers) watcher(event)
    },
  })
  t.teardown(async () => { await sidecar.close() })
  return {
    ...sidecar,
    events,
    keyFor: async (principal, agent = 'tester', tools) =>
      (await sidecar.sessions.create({ principal, agent, ...(tools === undefined ? {} : { tools: { allow: ['*'], deny: [], ...tools } }) })).key.reveal(),
    async until (fits: (event: ValetEvent) => boolean) {
      const past = events.find(fits)
      if (past !== undefined) return past
      return await new Promise<ValetEvent>((resolve, reject) => {
        const timer = setTimeout(() => { watchers.delete(watcher); reject(new Error('no such event within 10 s')) }, 10_000)
        const watcher = (event: ValetEvent): void => {
          if (!fits(event)) return
          clearTimeout(timer)
          watchers.delete(watcher)
          resolve(event)
        }
        watchers.add(watcher)
      })
    },
    metrics: async () => await (await fetch(`${sidecar.adminUrl}/metrics`)).text(),
  } as TestSidecar
}

/** The value of one series, 0 where there is none yet. @param series `name{label="value",…}` as it is exposed */
export function metric (exposition: string, series: string): number {
  const line = exposition.split('\n').find((candidate) => candidate.startsWith(series + ' '))
  return line === undefined ? 0 : Number(line.slice(series.length + 1))
}
