import type { Test } from 'tap'
import { createBearerCheck } from '../../src/demo/bearer.js'
import { createIssuer, type Issuer } from '../../src/demo/issuer.js'
import { createDemoMcpServer, type DemoMcpServer } from '../../src/demo/mcp-server.js'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { startEverything } from './everything.js'
import type { SdkAgent } from './sdk-clients.js'
import { startSidecar, type TestSidecar } from './sidecar.js'
import { startHop, type Passed, type TokenHop } from './token-hop.js'

/**
 * Seconds that tokens live where real time shall run out for them. Their `iat` is a whole second, so that at the server
 * it is 1 to 2 s: some die before the sidecar expects it.
 */
export const SHORT = 2
/** Where the test itself moves time, a life that no machine under load is too slow for. */
const LONG = 60

/** `demo`: src/demo/mcp-server.ts, which checks tokens itself; a URL: a server that checks none, and gets a hop that does. */
export type ServerUnderTest = 'demo' | { readonly origin: string }

/** An official server, with the names of its tools that tests use. */
export interface Peer {
  readonly name: string
  readonly server: ServerUnderTest
  /** Adds `a` and `b`. */
  readonly add: string
  /** Takes its time, and reports progress `steps` times. */
  readonly slow: { readonly name: string, args (steps: number, intervalMs: number): object, readonly done: RegExp }
}

/** The servers of the matrix; server-everything runs until the test ends. */
export async function startPeers (t: Test): Promise<Peer[]> {
  return [
    {
      name: 'the demo server',
      server: 'demo',
      add: 'add',
      slow: { name: 'slow_count', args: (n, intervalMs) => ({ n, interval_ms: intervalMs }), done: /^counted to/ },
    },
    {
      name: 'server-everything',
      server: { origin: await startEverything(t) },
      add: 'get-sum',
      slow: { name: 'trigger-long-running-operation', args: (steps, intervalMs) => ({ steps, duration: steps * intervalMs / 1000 }), done: /^Long running operation completed/ },
    },
  ]
}

/** The way of a call: agent → sidecar → hop → MCP server. */
export interface Stage {
  /** Where an agent calls, and the headers it brings. */
  readonly url: string
  readonly headers: Record<string, string>
  readonly sidecar: TestSidecar
  readonly hop: TokenHop
  readonly issuer: Issuer
  /** Moves the clock of issuer and server on by a token's life, so that every token is past its `exp`. The sidecar's stays. */
  expire (): void
  /** The same server without the sidecar: where to call, with a token that outlives the test. */
  direct (): Promise<{ url: string, headers: Record<string, string> }>
}

/**
 * Sets one up with everything real and on loopback; all of it ends with the test.
 * @param lifetime seconds that a token lives
 */
export async function setStage (t: Test, server: ServerUnderTest, lifetime = LONG): Promise<Stage> {
  let ahead = 0
  const now = (): number => Date.now() + ahead
  const issuer = await createIssuer({ audience: () => audience, lifetime, now })
  t.teardown(async () => await issuer.close())

  let audience = 'urn:not-yet'
  let hop: TokenHop
  if (server === 'demo') {
    const mcp: DemoMcpServer = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwksUri, now })
    t.teardown(async () => await mcp.close())
    audience = mcp.audience
    hop = await startHop(t, mcp.url)
  } else {
    hop = await startHop(t, server.origin, createBearerCheck({ issuer: issuer.url, jwks: issuer.jwks, audience: () => audience, now }))
    audience = `${hop.origin}/mcp`
  }

  const { refresh_token: refreshToken } = await issuer.login('alice')
  const sidecar = await startSidecar(t, `
upstreams:
  peer: { url: "${hop.origin}/mcp" }
principals:
  alice:
    credentials:
      peer: { type: refresh_token, issuer: "${issuer.url}", client_id: demo, refresh_token: { env: RT }, resource: "${audience}" }
`, { env: { RT: refreshToken } })
  return {
    url: `${sidecar.proxyUrl}/peer/mcp`,
    headers: { 'X-Session-Key': await sidecar.keyFor('alice') },
    sidecar,
    hop,
    issuer,
    expire () { ahead += lifetime * 1000 },
    async direct () {
      const token = await issuer.mint('alice', { exp: Math.floor(now() / 1000) + 3600 })
      return { url: `${hop.origin}/mcp`, headers: { Authorization: `Bearer ${token}`, 'X-API-KEY': token } }
    },
  }
}

/** The distinct tokens with which the server let a session's requests in; without a session, those of all requests. */
export function tokensOf (stage: Stage, session?: string): Set<string> {
  const served = stage.hop.passed.filter((passed) => passed.status > 0 && passed.status < 400 && passed.session === session)
  return new Set(served.map(({ token }) => token as string))
}

export function refreshes (stage: Stage): RefreshEvent[] {
  return stage.sidecar.events.filter((event) => event.event === 'refresh')
}

/** The MCP session of an agent as the server knows it; undefined where there is none. */
export function sessionOf (hop: TokenHop, { mark }: SdkAgent): string | undefined {
  return hop.passed.find(({ headers, rpcMethod, session }) => headers['x-agent'] === mark && rpcMethod === 'initialize' && session !== undefined)?.session
}

/** The GET stream of an agent's session, once the server has opened it. */
export async function standalone (stage: Stage, agent: SdkAgent): Promise<Passed> {
  return await stage.hop.until((passed) => passed.method === 'GET' && passed.session === sessionOf(stage.hop, agent) && passed.status === 200 && isStream(passed))
}

export function isStream ({ contentType }: Passed): boolean {
  return contentType.startsWith('text/event-stream')
}

/**
 * Whether an agent noticed nothing although its token was replaced under it; to be asked while it is still connected.
 * @param tokens at least so many have served its MCP session
 */
export function seamless (t: Test, stage: Stage, agent: SdkAgent, tokens = 2): void {
  const { sidecar, hop } = stage
  t.same(agent.errors.map(String), [], 'the client reports no error')
  t.same(agent.answers.filter(({ status }) => status >= 400), [], 'the client sees no 401 and no other error')

  const used = tokensOf(stage, sessionOf(stage.hop, agent))
  t.ok(used.size >= tokens, `one MCP session, ${used.size} tokens`)
  t.ok(hop.passed.every(({ token, apiKey }) => token !== undefined && token === apiKey), 'each request has the same token twice')
  t.notOk(hop.passed.some(({ headers }) => 'x-session-key' in headers), 'and no session key')

  const renewals = refreshes(stage)
  const good = renewals.filter(({ outcome }) => outcome === 'ok')
  t.ok(good.length >= tokens, `${good.length} refreshes`)
  // One that is slower than the token lives is tried again, which a machine under load may need.
  t.notOk(renewals.some(({ outcome }) => outcome === 'revoked'), 'none of them in vain')
  t.equal(stage.issuer.families.revoked, 0, 'no refresh token was used twice')
  t.same(sidecar.events.filter(isTrouble), [], 'nothing failed at the sidecar')
  t.same(hop.passed.filter((passed) => isStream(passed) && passed.end !== 'open' && passed.end !== 'complete'), [], 'no stream was cut')
}

function isTrouble (event: ValetEvent): boolean {
  if (event.event === 'call') return event.outcome !== 'ok' && event.outcome !== 'replayed'
  if (event.event === 'replayed') return event.outcome === 'failed'
  return ['failed', 'denied', 'anonymous', 'state_failed', 'internal_error', 'warning'].includes(event.event)
}
