import type { Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { loadConfigText } from '../../src/config/load.js'
import type { GivenCredential } from '../../src/control.js'
import { login, type LoggedIn, type LoginOptions } from '../../src/login/login.js'
import { planOf, type LoginFlags } from '../../src/login/plan.js'
import { testPerson, type TestPerson } from './person.js'

export interface Run {
  readonly person: TestPerson
  /** What was kept. */
  readonly saved: Array<{ readonly principal: string, readonly upstream: string, readonly given: GivenCredential }>
  readonly result: Promise<LoggedIn>
}

export interface StartLogin extends Partial<LoginOptions> {
  readonly flags?: Partial<LoginFlags>
  readonly env?: Record<string, string>
  readonly agrees?: boolean
}

/** Begins a login of alice at the upstream `tools` of this config; it is cancelled when the test ends, if it still waits then. */
export function startLogin (t: Test, yaml: string, options: StartLogin = {}): Run {
  const { env = {}, flags = {}, agrees = true, ...rest } = options
  const plan = planOf(loadConfigText(yaml, { env }), { principal: 'alice', upstream: 'tools', ...flags })
  const person = testPerson(agrees)
  const saved: Array<Run['saved'][number]> = []
  const over = new AbortController()
  t.teardown(() => over.abort())
  const result = login(plan, {
    clock: systemClock,
    person,
    save: async (principal, upstream, given) => { saved.push({ principal, upstream, given }) },
    stop: over.signal,
    redirectPort: 0,
    timeoutMs: 60_000,
    ...rest,
  })
  // A test looks at it when it is ready to.
  result.catch(() => {})
  return { person, saved, result }
}

/** The config of one upstream with these defaults of its credential, in flow style. */
export function oneTool (url: string, credential?: string): string {
  return `upstreams: { tools: { url: "${url}"${credential === undefined ? '' : `, credential: ${credential}`} } }`
}

/** The address that the browser is sent back to, with an answer that fits the login page's. */
export function callbackOf (loginPage: URL, parameters: Record<string, string | undefined>): URL {
  const back = new URL(loginPage.searchParams.get('redirect_uri') as string)
  const all = { state: loginPage.searchParams.get('state') as string, ...parameters }
  for (const [name, value] of Object.entries(all)) if (value !== undefined) back.searchParams.set(name, value)
  return back
}
