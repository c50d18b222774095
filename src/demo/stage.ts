import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { loadConfigText } from '../config/load.js'
import { createSidecar } from '../sidecar.js'
import type { ValetEvent } from '../telemetry/events.js'
import { listen, shut } from './http.js'
import { createIssuer } from './issuer.js'
import type { DemoMcpServer } from './mcp-server.js'

export interface Ports { readonly proxy: number, readonly admin: number }

export interface StageOptions {
  /** Wished for; a port that is taken is replaced by a free one. */
  readonly ports: Ports
  /** Seconds an access token lives. */
  readonly lifetime: number
  readonly onEvent: (event: ValetEvent) => void
}

/** Everything the demo runs: a token issuer, an MCP server, and the sidecar between that server and an agent. */
export interface Stage {
  /** What an agent calls, and the session key it calls with. */
  readonly endpoint: string
  readonly key: string
  readonly adminUrl: string
  readonly mcp: DemoMcpServer
  /** Stops all of it and removes its folder. */
  close (): Promise<void>
}

/**
 * Sets the stage on loopback. The tokens reach the sidecar through an environment of its own: nothing is read from the
 * process's, and nothing is written but the store in a temporary folder.
 *
 * @throws what fails first; what had been started by then is stopped again
 */
export async function setStage (options: StageOptions): Promise<Stage> {
  const closers: Array<() => Promise<void>> = []
  const close = async (): Promise<void> => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }

  try {
    // The SDK is an optional dependency: this import is what fails where it is not installed.
    const { createDemoMcpServer } = await import('./mcp-server.js')
    const client = { id: 'demo-agents', secret: randomBytes(24).toString('base64url') }
    const issuer = await createIssuer({ audience: () => mcp.audience, lifetime: options.lifetime, clients: [client] })
    closers.push(issuer.close)
    const mcp: DemoMcpServer = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwksUri })
    closers.push(mcp.close)

    const folder = await mkdtemp(join(tmpdir(), 'mcp-valet-demo-'))
    closers.push(async () => await rm(folder, { recursive: true, force: true }))
    const { refresh_token: refreshToken } = await issuer.login('alice')
    const text = configText({
      ports: { proxy: await portNear(options.ports.proxy), admin: await portNear(options.ports.admin) },
      folder,
      upstream: mcp.url,
      issuer: issuer.url,
      clientId: client.id,
    })
    const config = loadConfigText(text, { env: { DEMO_CLIENT_SECRET: client.secret, DEMO_REFRESH_TOKEN: refreshToken } })
    const sidecar = await createSidecar(config, { onEvent: options.onEvent })
    closers.push(sidecar.close)
    const { key } = await sidecar.sessions.create({ principal: 'alice', agent: 'demo' })

    return { endpoint: `${sidecar.proxyUrl}/demo/mcp`, key: key.reveal(), adminUrl: sidecar.adminUrl, mcp, close }
  } catch (error) {
    await close()
    throw error
  }
}

function configText ({ ports, folder, upstream, issuer, clientId }: {
  ports: Ports, folder: string, upstream: string, issuer: string, clientId: string
}): string {
  const credential = {
    type: 'refresh_token',
    issuer,
    client_id: clientId,
    client_secret: { env: 'DEMO_CLIENT_SECRET' },
    refresh_token: { env: 'DEMO_REFRESH_TOKEN' },
  }
  return stringify({
    listen: `127.0.0.1:${ports.proxy}`,
    admin: { listen: `127.0.0.1:${ports.admin}` },
    state: { driver: 'lmdb', path: join(folder, 'state') },
    upstreams: { demo: { url: upstream, path: '/demo/mcp', deadline: '5s' } },
    principals: { alice: { credentials: { demo: credential } } },
  })
}

/** @returns the port if nothing listens there, else 0, which stands for any free one */
async function portNear (port: number): Promise<number> {
  const probe = createServer()
  try {
    await listen(probe, { host: '127.0.0.1', port })
  } catch {
    return 0
  }
  await shut(probe)
  return port
}
