import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accepts, freePort, start, until } from '../lib/children.js'
import { SESSION_HEADER, type Setting, type Target } from './target.js'
import { firstLine, findCommand } from './command.js'

/** Caddy on one CPU like the others (GOMAXPROCS=1), flushing at once (SSE), no access log, two fixed headers. */
export async function startCaddy ({ upstream, secrets, dir }: Setting): Promise<Target | undefined> {
  const command = findCommand('caddy')
  if (command === undefined) return undefined
  const port = await freePort()
  const home = join(dir, 'caddy')
  mkdirSync(home)
  const file = join(home, 'Caddyfile')
  writeFileSync(file, config(port, upstream.port), { mode: 0o600 })
  const child = start(command, ['run', '--adapter', 'caddyfile', '--config', file], join(dir, 'caddy.log'), {
    GOMAXPROCS: '1',
    HOME: home,
    XDG_DATA_HOME: home,
    XDG_CONFIG_HOME: home,
    BENCH_TOKEN: secrets.token,
  })
  await until(child, () => accepts(port))
  const version = firstLine(command, ['version']).split(' ')[0]!
  return { name: 'caddy', version, port, headers: { [SESSION_HEADER]: secrets.sessionKey }, child }
}

const config = (port: number, upstream: number): string => `
{
  admin off
  auto_https off
  log {
    level ERROR
  }
}
http://127.0.0.1:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${upstream} {
    flush_interval -1
    header_up Authorization "Bearer {$BENCH_TOKEN}"
    header_up X-API-KEY "{$BENCH_TOKEN}"
    transport http {
      keepalive_idle_conns_per_host 256
    }
  }
}
`
