import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import type { Fault } from './faults.js'
import { startHop, type Hop } from './hop.js'
import { startIssuer, type FailingIssuer } from './issuer.js'
import { Ledger } from './ledger.js'
import { startSidecar, type Sidecar } from './sidecar.js'
import { RawAgent } from './wire.js'

/** Principals of the config; NIGHTLY has a client-credentials grant of its own, the others refresh tokens that rotate. */
export const PEOPLE = ['alice', 'bob', 'carol', 'dave', 'erin'] as const
export const NIGHTLY = 'nightly'

/** Everything that an agent of the run may touch. */
export interface World {
  readonly ledger: Ledger
  readonly issuer: FailingIssuer
  readonly hop: Hop
  readonly sidecar: Sidecar
  readonly endpoint: string
  /** Aborted when the run is over. */
  readonly signal: AbortSignal
  /** Of the session that the config has. */
  readonly configKey: string
  /** The config as it stands, with a setting of no consequence that differs each time. */
  config (turn: number): object
  /** Opens a session over the admin API. */
  open (principal: string, agent: string, more?: object): Promise<{ id: string, agent: RawAgent, key: string }>
  /** Waits so many milliseconds, or until the run is over. */
  wait (ms: number): Promise<void>
  close (): Promise<void>
}

export async function createWorld (dir: string, hide: readonly Fault[], signal: AbortSignal, tell: (line: string) => void): Promise<World> {
  const ledger = new Ledger(hide, tell)
  const hop = await startHop(ledger)
  const url = `${hop.url}/mcp`
  const issuer = await startIssuer(ledger, url)
  const server = await createDemoMcpServer({ audience: url, issuer: issuer.issuer.url, jwks: issuer.issuer.jwks })
  hop.target = new URL(server.url).origin
  const adminToken = randomBytes(32).toString('hex')
  const configKey = mintSessionKey().reveal()
  const env: Record<string, string> = { VALET_ADMIN_TOKEN: adminToken, AGENTS_SECRET: issuer.secrets.agents, NIGHTLY_SECRET: issuer.secrets.nightly, SILENT_KEY: configKey }
  for (const name of PEOPLE) env[`REFRESH_${name}`] = (await issuer.login(name)).refresh_token

  const config = (turn: number): object => ({
    listen: '127.0.0.1:0',
    admin: { listen: '127.0.0.1:0', token: { env: 'VALET_ADMIN_TOKEN' } },
    state: { driver: 'lmdb', path: join(dir, 'state') },
    upstreams: {
      tools: {
        url,
        timeouts: { connect: '10s', headers: '10s' },
        backoff: { base: '100ms', max: `${2_000 + turn % 2}ms` },
        credential: { type: 'refresh_token', token_endpoint: issuer.issuer.tokenEndpoint, client_id: 'agents', client_secret: { env: 'AGENTS_SECRET' } },
      },
    },
    principals: {
      ...Object.fromEntries(PEOPLE.map((name) => [name, { credentials: { tools: { refresh_token: { env: `REFRESH_${name}` } } } }])),
      [NIGHTLY]: {
        credentials: {
          tools: {
            type: 'client_credentials', token_endpoint: issuer.issuer.tokenEndpoint, client_id: 'nightly', client_secret: { env: 'NIGHTLY_SECRET' }, client_auth: 'client_secret_post',
          },
        },
      },
    },
    sessions: [{ principal: 'alice', agent: 'silent', key: { env: 'SILENT_KEY' } }],
  })
  const sidecar = await startSidecar(dir, config(0), env)
  const endpoint = `${sidecar.proxyUrl}/tools/mcp`

  return {
    ledger,
    issuer,
    hop,
    sidecar,
    endpoint,
    signal,
    configKey,
    config,
    async open (principal, agent, more = {}) {
      const { id, key } = await sidecar.ask('POST', '/sessions', { principal, agent, ...more }) as { id: string, key: string }
      return { id, key, agent: new RawAgent(endpoint, key) }
    },
    wait: async (ms) => { await sleep(ms, undefined, { signal }).catch(() => {}) },
    async close () {
      await hop.close()
      await server.close()
      await issuer.issuer.close()
    },
  }
}

export const between = (least: number, most: number): number => least + Math.random() * (most - least)
export const oneOf = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T
