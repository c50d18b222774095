import { randomBytes } from 'node:crypto'
import { createIssuer } from '../../src/demo/issuer.js'
import { HIDDEN_TOOL } from './fixture/tools.js'
import { startFixture, type Fixture } from './fixture/server.js'
import { startHop } from './hop.js'
import { startValet, type Valet } from './valet.js'

/** Seconds that a token lives. */
export const LIFETIME = 4
/**
 * Milliseconds by which the fixture's clock is ahead, as some clocks are: tokens die there before mcp-valet refreshes them ahead
 * of their expiry, so some calls are answered 401 and must be replayed.
 */
const AHEAD = 1500

/** The same MCP server twice: called directly, and through mcp-valet. */
export interface Stage {
  readonly direct: string
  readonly through: string
  readonly fixture: Fixture
  readonly valet: Valet
  close (): Promise<void>
}

/**
 * Starts issuer, fixture, mcp-valet and the two hops, on loopback. Directly, each request has a token of its own that has
 * just been issued; through mcp-valet it has a session key, and the principal a rotating refresh token.
 *
 * A tool policy applies, so that every call is judged and every answer read; it hides the one tool that no scenario asks for.
 */
export async function setStage (): Promise<Stage> {
  const closers: Array<() => Promise<void>> = []
  const close = async (): Promise<void> => { for (const closer of closers.splice(0).reverse()) await closer() }
  try {
    const issuer = await createIssuer({ audience: () => fixture.url, lifetime: LIFETIME })
    closers.push(issuer.close)
    const fixture: Fixture = await startFixture({ issuer: issuer.url, jwks: issuer.jwks, now: () => Date.now() + AHEAD })
    closers.push(fixture.close)

    const direct = await startHop(() => fixture.url, async () => {
      const token = await issuer.mint('alice')
      return { Authorization: `Bearer ${token}`, 'X-API-KEY': token }
    })
    closers.push(direct.close)

    const key = `vk_${randomBytes(32).toString('base64url')}`
    const through = await startHop(() => `${valet.proxy}/fixture/mcp`, async () => ({ 'X-Session-Key': key }))
    closers.push(through.close)
    const { refresh_token: refreshToken } = await issuer.login('alice')
    const config = configOf({ upstream: fixture.url, tokenEndpoint: issuer.tokenEndpoint, origin: new URL(through.url).origin })
    const valet: Valet = await startValet(config, { REFRESH_TOKEN: refreshToken, SESSION_KEY: key })
    closers.push(valet.close)
    return { direct: direct.url, through: through.url, fixture, valet, close }
  } catch (error) {
    await close()
    throw error
  }
}

// One scenario calls with the Origin of the address it was given, as a page from there would.
function configOf ({ upstream, tokenEndpoint, origin }: { upstream: string, tokenEndpoint: string, origin: string }): string {
  return `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
callers: { origins: ["${origin}"] }
upstreams:
  fixture: { url: "${upstream}", tools: { deny: ["${HIDDEN_TOOL}"] } }
principals:
  alice:
    credentials:
      fixture: { type: refresh_token, token_endpoint: "${tokenEndpoint}", client_id: demo, refresh_token: { env: REFRESH_TOKEN } }
sessions:
  - { principal: alice, agent: conformance, key: { env: SESSION_KEY } }
`
}
