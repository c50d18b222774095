import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { Closers } from './closers.js'
import { Program } from './program.js'
import type { McpServer } from './servers.js'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const PRINCIPALS = ['alice', 'bob'] as const
export type Principal = typeof PRINCIPALS[number]

/** Who calls: an agent of a principal, and what it may not use. */
export interface Session { readonly agent: string, readonly principal: Principal, readonly tools?: { readonly deny: readonly string[] } }

export interface Valet {
  readonly proxyUrl: string
  readonly keys: ReadonlyMap<Session, string>
  metrics (): Promise<string>
  /** Everything that its log says at warn or above. */
  complaints (): ReadonlyArray<Record<string, unknown>>
}

/**
 * Runs `mcp-valet serve` as it was built, in a process of its own, with one upstream for each server, principals who have a
 * rotating refresh token at each, and a session key for each agent.
 */
export async function startValet (closers: Closers, servers: readonly McpServer[], sessions: readonly Session[]): Promise<Valet> {
  const folder = await mkdtemp(join(tmpdir(), 'mcp-valet-interop-'))
  closers.teardown(async () => await rm(folder, { recursive: true, force: true }))
  const env: Record<string, string> = {}
  const secret = (name: string, value: string): { env: string } => {
    env[name] = value
    return { env: name }
  }

  const keys = new Map(sessions.map((session) => [session, `vk_${randomBytes(32).toString('base64url')}`]))
  const config = {
    listen: '127.0.0.1:0',
    admin: { listen: '127.0.0.1:0' },
    state: { driver: 'lmdb', path: join(folder, 'state') },
    upstreams: Object.fromEntries(servers.map(({ id, url, issuer }) => [id, { url, credential: { type: 'refresh_token', issuer: issuer.url, client_id: 'demo' } }])),
    principals: Object.fromEntries(await Promise.all(PRINCIPALS.map(async (principal) => {
      const credentials = await Promise.all(servers.map(async ({ id, issuer }) => {
        const { refresh_token: token } = await issuer.login(principal)
        return [id, { refresh_token: secret(`${principal}_${id}`.toUpperCase(), token) }] as const
      }))
      return [principal, { credentials: Object.fromEntries(credentials) }] as const
    }))),
    sessions: sessions.map((session, at) => ({ ...session, key: secret(`KEY_${at}`, keys.get(session) as string) })),
  }
  const file = join(folder, 'valet.yaml')
  await writeFile(file, stringify(config), { mode: 0o600 })

  const program = new Program(process.execPath, [CLI, 'serve', '-c', file], env)
  closers.teardown(async () => await program.stop())
  const line = await program.line((line) => line.includes('"event":"listening"')).catch((error: Error) => { throw new Error(`mcp-valet: ${error.message}\n${program.output}`) })
  const { proxy, admin } = JSON.parse(line) as { proxy: string, admin: string }
  return {
    proxyUrl: proxy,
    keys,
    metrics: async () => await (await fetch(`${admin}/metrics`)).text(),
    complaints: () => program.lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ level }) => level === 'warn' || level === 'error'),
  }
}
