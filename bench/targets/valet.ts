import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { start, until } from '../lib/children.js'
import { SESSION_HEADER, type Setting, type Target } from './target.js'
import { PATHS } from '../wire.js'

const ROOT = new URL('../../', import.meta.url)
const CLI = fileURLToPath(new URL('dist/cli.js', ROOT))

/**
 * mcp-valet as `npm run build` made it, with everything on: session key, credential, metrics, log at info into a
 * file. State is in memory. `steady` has an API token as each proxy has; `open` policies
 * that let everything pass beside it, and `tools` one for which every call and answer is read; `storm` an access token with a rotating refresh token.
 */
export async function startValet (use: 'steady' | 'open' | 'tools' | 'storm', { upstream, secrets, dir }: Setting): Promise<Target | undefined> {
  if (!existsSync(CLI)) return undefined
  const file = join(dir, `valet-${use}.yaml`)
  const base = `http://127.0.0.1:${upstream.port}`
  writeFileSync(file, use === 'storm' ? storm(base) : steady(base, POLICY[use], use === 'open' ? POLICY.open : ''), { mode: 0o600 })
  const child = start(process.execPath, [CLI, 'serve', '-c', file], join(dir, `valet-${use}.log`), {
    BENCH_TOKEN: secrets.token,
    BENCH_SESSION_KEY: secrets.sessionKey,
    ...(use === 'storm' && { BENCH_ACCESS: secrets.stormAccess, BENCH_REFRESH: secrets.stormRefresh }),
  })
  const { proxy, admin } = await until(child, () => listening(child.log))
  const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { version: string }
  return {
    name: use === 'tools' || use === 'open' ? `valet-${use}` : 'valet',
    version,
    port: Number(new URL(proxy).port),
    headers: { [SESSION_HEADER]: secrets.sessionKey },
    child,
    metricsUrl: new URL('/metrics', admin).href,
  }
}

/** How many lines the sidecar logged, and how many of them at warn or above: in normal operation none. */
export function logLines (file: string): { lines: number, warnings: number } {
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return { lines: lines.length, warnings: lines.filter(line => /"level":(?:"(?:warn|error|fatal)"|[456]0)/.test(line)).length }
}

/** The one line that says that both listeners accept calls. */
function listening (log: string): { proxy: string, admin: string } | undefined {
  const line = readFileSync(log, 'utf8').split('\n').find(text => text.includes('"event":"listening"') && text.endsWith('}'))
  return line === undefined ? undefined : JSON.parse(line) as { proxy: string, admin: string }
}

const POLICY = { steady: '', open: ', tools: { allow: ["*"] }', tools: ', tools: { deny: ["admin_*"] }' }

const common = (session = ''): string => `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
sessions:
  - { principal: bench, agent: bench, key: { env: BENCH_SESSION_KEY }${session} }
`

const steady = (base: string, more: string, others: string): string => `${common(others)}
upstreams:
  json: { url: "${base}${PATHS.json}", path: ${PATHS.json}${more} }
  sse: { url: "${base}${PATHS.sse}", path: ${PATHS.sse}${more} }
principals:
  bench:
    ${others.slice(2)}
    credentials:
      json: { type: api_token, token: { env: BENCH_TOKEN } }
      sse: { type: api_token, token: { env: BENCH_TOKEN } }
`

const storm = (base: string): string => `${common()}
upstreams:
  storm: { url: "${base}${PATHS.storm}", path: ${PATHS.storm} }
principals:
  bench:
    credentials:
      storm:
        type: refresh_token
        token_endpoint: "${base}${PATHS.token}"
        client_id: bench
        access_token: { env: BENCH_ACCESS }
        refresh_token: { env: BENCH_REFRESH }
`
