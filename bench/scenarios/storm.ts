/**
 * The refresh storm: every caller holds an open connection, the token they share goes bad, and all call at once. The issuer
 * takes its time and rotates the refresh token, so a second refresh would not only be seen, it would be refused.
 */
import { quantile } from '../lib/stats.js'
import type { Load } from '../lib/load.js'
import type { Options } from '../options.js'
import { startValet } from '../targets/valet.js'
import type { Setting } from '../targets/target.js'
import { PATHS } from '../wire.js'

export interface Storm {
  callers: number
  tokenRequests: number
  /** Token requests that the issuer refused: a refresh token used twice. */
  tokenRefusals: number
  /** 401s that the upstream gave, none of which may reach a caller. */
  upstream401: number
  failures: number
  reasons: string[]
  /** ms from the burst to the last answer; and the callers' latencies. */
  total: number
  p50: number
  p99: number
}

export interface Storms { storms: Storm[], failed?: string, missing?: string }

export async function runStorms (load: Load, setting: Setting, options: Options, progress: (line: string) => void): Promise<Storms> {
  const storms: Storm[] = []
  let stop: (() => Promise<void>) | undefined
  try {
    const valet = await startValet('storm', setting)
    if (valet === undefined) return { storms, missing: 'not built: npm run build' }
    stop = () => valet.child!.stop()
    const { port, headers } = valet
    await load.open({ port, path: PATHS.storm, headers, answer: 'json' }, options.callers, options.callers)
    for (let n = 0; n < options.storms; n++) {
      const storm = await runStorm(load, port, setting, options.callers)
      storms.push(storm)
      progress(`storm ${n + 1}/${options.storms}: ${storm.callers} callers, ${storm.tokenRequests} token requests, ` +
        `${storm.failures} failures, all answered in ${storm.total.toFixed(0)} ms`)
    }
    await load.close(port)
    return { storms }
  } catch (error) {
    return { storms, failed: (error as Error).message }
  } finally {
    await stop?.()
  }
}

async function runStorm (load: Load, port: number, { upstream }: Setting, callers: number): Promise<Storm> {
  const before = await upstream.expire()
  const { failures, reasons, seconds, latencies } = await load.burst(port)
  const after = await upstream.count()
  return {
    callers,
    tokenRequests: after.tokenRequests - before.tokenRequests,
    tokenRefusals: after.tokenRefusals - before.tokenRefusals,
    upstream401: after.rejected - before.rejected,
    failures,
    reasons,
    total: seconds * 1000,
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
  }
}
