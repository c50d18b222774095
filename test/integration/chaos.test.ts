import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import t from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { createIssuer } from '../../src/demo/issuer.js'
import { call } from '../helpers/call.js'
import { startHop, type Hop } from '../helpers/cut.js'
import { skip, startRedis } from '../helpers/redis.js'
import { serveProcess, type Serving } from '../helpers/serving.js'
import { startUpstream } from '../helpers/upstream.js'

/** How long the four of them are tormented; longer in the full check. */
const SECONDS = Number(process.env.MCP_VALET_CHAOS_SECONDS ?? 20)
/** A caller that gets no answer tries another sidecar, for this long. */
const PATIENCE_MS = 30_000
/** How long one try may take: past the lease of a sidecar that has been stopped. */
const ONE_TRY_MS = 12_000
const PRINCIPALS = ['alice', 'bob', 'carol', 'dave', 'erin']
const CALLERS = 10

const sleep = async (ms: number): Promise<void> => { await new Promise((resolve) => setTimeout(resolve, ms)) }
const upTo = (ms: number): number => Math.random() * ms

t.test(`rows 2, 3, 10, 13, 14, 22: four sidecars on one Redis, killed, stopped and cut off at random for ${SECONDS} s, lose no call and no grant`, { skip, timeout: (SECONDS + 90) * 1000 }, async (t) => {
  const redis = await startRedis(t)
  const foreign: string[] = []
  const upstream = await startUpstream(t, (seen, response) => {
    const token = String(seen.headers['x-api-key'])
    const { id, params } = JSON.parse(seen.body.toString()) as { id: number, params: { principal: string } }
    const { sub, exp = 0 } = decodeJwt(token)
    if (sub !== params.principal) foreign.push(`${params.principal} with a token of ${String(sub)}`)
    if (exp * 1000 <= Date.now()) return response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: {} }))
  })
  // A token family is over when a token is used again, unless that is what a lost answer makes of an honest client.
  const issuer = await createIssuer({ audience: `${upstream.origin}/mcp`, lifetime: 4, graceSeconds: 30 })
  t.teardown(issuer.close)

  const folder = t.testdir({})
  const env: Record<string, string> = { STATE_KEY: randomBytes(32).toString('base64') }
  for (const name of PRINCIPALS) {
    env[`RT_${name}`] = (await issuer.login(name)).refresh_token
    env[`KEY_${name}`] = mintSessionKey().reveal()
  }
  const config = join(folder, 'valet.yaml')
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: redis, url: { env: REDIS_URL }, key: { env: STATE_KEY } }
upstreams: { tools: { url: "${upstream.origin}/mcp", credential: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo } } }
principals:
${PRINCIPALS.map((name) => `  ${name}: { credentials: { tools: { refresh_token: { env: RT_${name} } } } }`).join('\n')}
sessions:
${PRINCIPALS.map((name) => `  - { principal: ${name}, agent: caller, key: { env: KEY_${name} } }`).join('\n')}
`)
  const places = await Promise.all([0, 1, 2, 3].map(async (nth) => {
    const hop = await startHop(t, { path: redis.socket })
    const start = async (): Promise<Serving> => await serveProcess(t, config, { ...env, REDIS_URL: `redis://127.0.0.1:${hop.port}` })
    return { nth, hop, start, serving: await start() as Serving | undefined }
  }))

  const end = Date.now() + SECONDS * 1000
  const done: Record<string, number> = {}
  let [calls, tries, longest] = [0, 0, 0]
  const lost: string[] = []

  /** Never more than two at a time, so that somebody is always there to be asked. */
  async function torment (mine: typeof places): Promise<void> {
    while (Date.now() < end) {
      const place = mine[Math.floor(upTo(mine.length))] as typeof places[number]
      const torture = TORTURES[Math.floor(upTo(TORTURES.length))] as typeof TORTURES[number]
      done[torture.name] = (done[torture.name] ?? 0) + 1
      await torture(place)
      await sleep(200 + upTo(800))
    }
  }

  async function caller (principal: string): Promise<void> {
    while (Date.now() < end) {
      calls++
      const started = Date.now()
      const said: string[] = []
      for (;;) {
        tries++
        const place = places[Math.floor(upTo(places.length))] as typeof places[number]
        const answer = place.serving === undefined
          ? 'nobody is there'
          : await Promise.race([
            call(`${place.serving.proxy}/tools/mcp`, { key: env[`KEY_${principal}`] as string, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { principal } }) })
              .then(({ status, body }) => status === 200 ? undefined : body, (error: Error) => error.message),
            sleep(ONE_TRY_MS).then(() => 'no answer'),
          ])
        if (answer === undefined) break
        said.push(answer)
        if (Date.now() - started > PATIENCE_MS) {
          lost.push(`${principal}: ${said.slice(-5).join(' | ')}`)
          break
        }
        await sleep(50)
      }
      longest = Math.max(longest, Date.now() - started)
      await sleep(upTo(40))
    }
  }

  await Promise.all([
    torment(places.slice(0, 2)),
    torment(places.slice(2)),
    ...Array.from({ length: CALLERS }, async (_, nth) => await caller(PRINCIPALS[nth % PRINCIPALS.length] as string)),
  ])

  const { ok, refused } = issuer.requests.refresh_token
  t.comment(`${calls} calls in ${tries} tries, the longest ${longest} ms; ${ok} refreshes, ${refused} refused; ${JSON.stringify(done)}`)
  t.same(lost, [], 'no call was lost that a retry could save')
  t.same(foreign, [], 'nobody was served with another\'s token')
  t.equal(issuer.families.revoked, 0, 'no refresh token was used again beyond the issuer\'s grace')
  t.ok(calls > SECONDS * 5, 'there was something to lose')
  t.notMatch(places.map(({ serving }) => serving?.output()).join(''), /"event":"internal_error"|rt_[\w-]{10}|eyJ/)
})

interface Place { readonly hop: Hop, start (): Promise<Serving>, serving: Serving | undefined }

const TORTURES: ReadonlyArray<(place: Place) => Promise<void>> = [
  async function killed (place) {
    const { serving } = place
    place.serving = undefined
    await serving?.kill()
    await sleep(upTo(1_000))
    place.serving = await place.start()
  },
  async function stopped ({ serving }) {
    serving?.child.kill('SIGSTOP')
    await sleep(500 + upTo(2_000))
    serving?.child.kill('SIGCONT')
  },
  async function stoppedPastTheLease ({ serving }) {
    serving?.child.kill('SIGSTOP')
    await sleep(11_000 + upTo(3_000))
    serving?.child.kill('SIGCONT')
  },
  async function cutOff ({ hop }) {
    hop.cut()
    await sleep(500 + upTo(3_000))
    hop.mend()
  },
  async function stalled ({ hop }) {
    hop.stall()
    await sleep(500 + upTo(4_000))
    hop.mend()
  },
]
