import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { systemClock, type Clock } from '../../src/clock.js'
import { loadConfigText } from '../../src/config/load.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { call } from './call.js'
import { freshToken, open } from './peers.js'
import { serveProcess } from './serving.js'
import { startSidecar, type TestSidecar } from './sidecar.js'
import { byRefreshToken, oneUpstream, startOpaqueIssuer } from './tokens.js'
import { guarded, startUpstream } from './upstream.js'

/** Seconds that tokens live where an issuer is to die. */
const LIFETIME = 10
const STREAMS = 21
/** Calls that are under way at once when a token is refused. */
const BURST = 20

export interface Ward {
  /** Admin URLs by the instance that Prometheus shows them as. */
  readonly targets: Readonly<Record<string, string>>
  /** Calls of every upstream, a few a second, until the test ends. */
  callAll (): void
  /** One fault for each alert, all at once. */
  breakAll (): Promise<void>
  /** Puts the config right that was refused. */
  correctConfig (): Promise<void>
  /** Ends the process of the sidecar `mortal`. */
  kill (): Promise<void>
}

interface Lane { readonly url: string, readonly key: string }

const API_TOKEN = '{ type: api_token, token: { env: T } }'

/** Sidecars with real peers, in good health until `breakAll`; one of them, `healthy`, beyond it. */
export async function startWard (t: Test): Promise<Ward> {
  const fine = await startUpstream(t)
  const healthy = await startSidecar(t, `
upstreams: { healthy: { url: "${fine.origin}/mcp" } }
principals: { alice: { credentials: { healthy: ${API_TOKEN} } } }
`, { env: { T: freshToken() } })
  const well = await laneOf(healthy, 'healthy', 'alice')
  const [suffering, stopping, mortal] = await Promise.all([startSuffering(t, fine.origin), startStopping(t), startMortal(t, fine.origin)])
  let broken = false

  async function round (): Promise<void> {
    await Promise.all([
      call(well.url, well),
      suffering.round(broken),
      ...broken ? [call(well.url, { key: 'vk_wrong' }), call(well.url, { key: well.key, headers: { origin: 'http://evil.example' } })] : [],
    ])
  }

  return {
    targets: { healthy: healthy.adminUrl, suffering: suffering.adminUrl, stopping: stopping.adminUrl, mortal: mortal.adminUrl },
    callAll () {
      let over = false
      const running = (async () => {
        do {
          await round()
          await sleep(200)
        } while (!over) // eslint-disable-line no-unmodified-loop-condition
      })()
      running.catch(() => {})
      t.teardown(async () => {
        over = true
        await running
      })
    },
    async breakAll () {
      broken = true
      mortal.fillDisk()
      stopping.stop()
      await suffering.breakAll()
    },
    correctConfig: suffering.correctConfig,
    kill: mortal.kill,
  }
}

/** One with an upstream for each thing that may go wrong about tokens. */
async function startSuffering (t: Test, fine: string) {
  let refuses = false
  const refusing = await startUpstream(t, guarded(() => !refuses))
  const gone = await startUpstream(t)
  // Its issuer takes its time, and each burst of calls finds its token refused.
  const slow = await startOpaqueIssuer(t, { instead: async () => { await sleep(300); return undefined } })
  let stale: string | undefined
  const churning = await startUpstream(t, guarded((token) => token !== stale))
  const issuer = await createIssuer({ audience: `${fine}/mcp`, lifetime: LIFETIME })
  t.teardown(async () => await issuer.close())
  const login = async (subject: string): Promise<string> => (await issuer.login(subject)).refresh_token
  const env = { ALICE: await login('alice'), BOB: await login('bob'), CAROL: await login('carol'), SLOW: slow.seed, T: freshToken() }
  const refreshed = (endpoint: string, client: string, name: string): string => `{ type: refresh_token, token_endpoint: "${endpoint}", client_id: ${client}, refresh_token: { env: ${name} } }`
  const clock = faultyClock()
  const config = `
upstreams:
  abandoned: { url: "${fine}/mcp", deadline: 300ms }
  revoked: { url: "${fine}/mcp" }
  fallback: { url: "${fine}/mcp", deadline: 300ms, anonymous: [refresh_failed] }
  refusing: { url: "${refusing.origin}/mcp" }
  gone: { url: "${gone.origin}/mcp" }
  churning: { url: "${churning.origin}/mcp" }
principals:
  alice:
    credentials:
      abandoned: ${refreshed(issuer.tokenEndpoint, 'demo', 'ALICE')}
      refusing: ${API_TOKEN}
      gone: ${API_TOKEN}
      churning: ${refreshed(slow.endpoint, 'agents', 'SLOW')}
  bob: { credentials: { revoked: ${refreshed(issuer.tokenEndpoint, 'demo', 'BOB')} } }
  carol: { credentials: { fallback: ${refreshed(issuer.tokenEndpoint, 'demo', 'CAROL')} } }
`
  const sidecar = await startSidecar(t, config, { env, clock })
  const lanes = await Promise.all([
    laneOf(sidecar, 'abandoned', 'alice'), laneOf(sidecar, 'refusing', 'alice'), laneOf(sidecar, 'gone', 'alice'),
    laneOf(sidecar, 'revoked', 'bob'), laneOf(sidecar, 'fallback', 'carol'),
  ])
  const churn = await laneOf(sidecar, 'churning', 'alice')
  return {
    adminUrl: sidecar.adminUrl,
    async round (broken: boolean) {
      const burst = broken ? BURST : 1
      if (broken) stale = slow.issued.at(-1)
      await Promise.all([...lanes, ...Array.from({ length: burst }, () => churn)].map(async (lane) => await call(lane.url, lane)))
      // Somebody tries by hand, as by itself it is tried more and more rarely.
      if (broken) await sidecar.credentials.refresh('alice', 'abandoned').catch(() => {})
    },
    async breakAll () {
      issuer.revoke('bob')
      await sidecar.credentials.refresh('bob', 'revoked').catch(() => {})
      await issuer.close()
      refuses = true
      gone.server.closeAllConnections()
      gone.server.close()
      clock.fail()
      await sidecar.reload(async () => loadConfigText('upstreams: { tools: { url: nowhere } }', { env })).catch(() => {})
    },
    async correctConfig () {
      await sidecar.reload(async () => loadConfigText(`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\n${config}`, { env }))
    },
  }
}

/** One that is told to stop while more streams are open than there should be, which may take their time. */
async function startStopping (t: Test) {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') })
  const sidecar = await startSidecar(t, `
drain: { streams: 300s }
upstreams: { streaming: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { streaming: ${API_TOKEN} } } }
`, { env: { T: freshToken() } })
  const { url, key } = await laneOf(sidecar, 'streaming', 'alice')
  return {
    adminUrl: sidecar.adminUrl,
    stop () {
      const streams = Array.from({ length: STREAMS }, () => open(url, { method: 'GET', key }))
      t.teardown(() => { for (const { request } of streams) request.destroy() })
      void Promise.all(streams.map(async ({ head }) => await head)).then(async () => await sidecar.close())
    },
  }
}

/** A process of its own, with its state on a disk. */
async function startMortal (t: Test, fine: string) {
  let filling = false
  let limit = (): void => {}
  const issuer = await startOpaqueIssuer(t, {
    expiresIn: 4,
    // When it is noted that the refresh token is being spent, and the one that comes for it has yet to be saved.
    instead: () => {
      if (filling) limit()
      return undefined
    },
  })
  const folder = t.testdir({})
  mkdirSync(join(folder, 'state'))
  const config = join(folder, 'valet.yaml')
  writeFileSync(config, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: lmdb, path: ${join(folder, 'state')} }\n${oneUpstream(fine, byRefreshToken(issuer.endpoint))}`)
  // Besides refusing a write above its limit the system sends a signal, which a full disk does not.
  const { admin, child, kill } = await serveProcess(t, config, { RT: issuer.seed, NODE_OPTIONS: "--import=data:text/javascript,process.on('SIGXFSZ',()=>{})" })
  limit = () => { execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=1:']) }
  return {
    adminUrl: admin,
    kill,
    /** What is to be saved from now on is refused, as on a full disk. */
    fillDisk () { filling = true },
  }
}

/** The clock of an embedding program that throws once after `fail`, where the rest of a refused answer is to be read. */
function faultyClock (): Clock & { fail (): void } {
  let failing = false
  return {
    ...systemClock,
    fail () { failing = true },
    after (ms, callback) {
      if (!failing || ms !== 1_000) return systemClock.after(ms, callback)
      failing = false
      throw new Error('the clock has a fault')
    },
  }
}

async function laneOf (sidecar: TestSidecar, upstream: string, principal: string): Promise<Lane> {
  return { url: `${sidecar.proxyUrl}/${upstream}/mcp`, key: await sidecar.keyFor(principal) }
}
