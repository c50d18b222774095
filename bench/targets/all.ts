import { startCaddy } from './caddy.js'
import { startNginx } from './nginx.js'
import { startFloor, startStock } from './stock.js'
import { startValet } from './valet.js'
import type { Missing, Setting, Target, TargetName } from './target.js'

/** Starts every row. One that is not there or does not start becomes a line in the table that says so; the others go on. */
export async function startAll (setting: Setting): Promise<{ targets: Target[], missing: Missing[] }> {
  const targets: Target[] = [direct(setting)]
  const missing: Missing[] = []
  const starters: [TargetName, string, () => Promise<Target | undefined>][] = [
    ['stock', 'not installed', () => startStock(setting)],
    ['floor', 'not installed', () => startFloor(setting)],
    ['valet', 'not built: npm run build', () => startValet('steady', setting)],
    ['valet-open', 'not built: npm run build', () => startValet('open', setting)],
    ['valet-tools', 'not built: npm run build', () => startValet('tools', setting)],
    ['nginx', 'not installed', () => startNginx(setting)],
    ['caddy', 'not installed', () => startCaddy(setting)],
  ]
  for (const [name, reason, start] of starters) {
    try {
      const target = await start()
      if (target === undefined) missing.push({ name, reason, absent: true })
      else targets.push(target)
    } catch (error) {
      missing.push({ name, reason: `did not start: ${(error as Error).message}`.slice(0, 400), absent: false })
    }
  }
  return { targets, missing }
}

function direct ({ upstream, secrets }: Setting): Target {
  const headers = { Authorization: `Bearer ${secrets.token}`, 'X-API-KEY': secrets.token }
  return { name: 'direct', version: `node ${process.versions.node}`, port: upstream.port, headers }
}
