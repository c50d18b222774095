/** The parent's side of the upstream, and the secrets that the run was given: new ones each time, in no file of ours. */
import { randomBytes } from 'node:crypto'
import type { UpstreamCounts } from '../upstream.js'
import { startModule, type Child } from './children.js'
import { ask, firstMessage } from './ask.js'

export interface Secrets { token: string, sessionKey: string, stormAccess: string, stormRefresh: string }

export function mintSecrets (): Secrets {
  const random = (): string => randomBytes(32).toString('base64url')
  return {
    token: `ai_dev_${random()}`,
    sessionKey: `vk_${random()}`,
    stormAccess: `ai_storm_${random()}`,
    stormRefresh: `rt_${random()}`,
  }
}

export class Upstream {
  #child: Child
  readonly port: number
  private constructor (child: Child, port: number) {
    this.#child = child
    this.port = port
  }

  /** `tokenDelay` in ms: how long the token endpoint takes. */
  static async start (log: string, secrets: Secrets, tokenDelay: number): Promise<Upstream> {
    const child = startModule(new URL('../upstream.ts', import.meta.url), log, {
      BENCH_TOKEN: secrets.token,
      BENCH_TOKEN_DELAY_MS: String(tokenDelay),
      BENCH_STORM_ACCESS: secrets.stormAccess,
      BENCH_STORM_REFRESH: secrets.stormRefresh,
    })
    const { port } = await firstMessage<{ port: number }>(child)
    return new Upstream(child, port)
  }

  /** Makes the storm's access token bad; gives the counts as they stand. */
  expire (): Promise<UpstreamCounts> { return ask(this.#child, { do: 'expire' }) }
  count (): Promise<UpstreamCounts> { return ask(this.#child, { do: 'count' }) }
}
