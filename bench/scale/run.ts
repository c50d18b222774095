/** `npm run bench:scale`: does a look-up stay cheap, and a start quick, with very many principals and sessions? */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { accepts, freePort, start, stopAll, until, type Child } from '../lib/children.js'
import { TYPESCRIPT } from '../../test/helpers/typescript.js'
import { memory } from '../lib/proc.js'
import { median } from '../lib/stats.js'
import { callMicros } from './calls.js'

const SIZES = [{ principals: 10, sessions: 10 }, { principals: 10_000, sessions: 50_000 }]
const ROUNDS = 5
const CALLS = 2_000
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const FILL = fileURLToPath(new URL('./fill.ts', import.meta.url))
const ENV = { STATE_KEY: 'scale-'.repeat(8) }
// On a disk, filling would take minutes: each record is written through. What is measured only reads.
const work = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'valet-scale-'))

interface Figures { readonly startMs: number, readonly rss: number, readonly micros: number[] }
interface Scene { readonly config: string, readonly keys: readonly string[], readonly env: Record<string, string> }

const upstream = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"result":{}}'))
})
await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
const mcpUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`

let missed = false
try {
  for (const driver of ['lmdb', 'redis'] as const) await measure(driver)
} finally {
  await stopAll()
  upstream.close()
  rmSync(work, { recursive: true, force: true })
}
process.exitCode = missed ? 1 : 0

async function measure (driver: 'lmdb' | 'redis'): Promise<void> {
  if (driver === 'redis' && spawnSync('redis-server', ['--version']).status !== 0) return console.log('redis: SKIPPED, there is no redis-server here')
  const scenes: Scene[] = []
  for (const size of SIZES) scenes.push(await fill(driver, size))
  const [few, many] = [await figures(scenes[0] as Scene), await figures(scenes[1] as Scene)]
  const ratios = few.micros.map((micros, round) => (many.micros[round] as number) / micros)
  const { principals, sessions } = SIZES[1] as typeof SIZES[number]
  const perPrincipal = (many.rss - few.rss) * 1024 / principals
  const say = (what: string, figure: string, good: boolean): void => {
    missed ||= !good
    console.log(`${driver.padEnd(6)} ${what.padEnd(58)} ${figure.padStart(12)}   ${good ? 'PASS' : 'MISSED'}`)
  }
  say(`call with ${sessions} sessions to call with 10 (≤2 ×)`, `${median(ratios).toFixed(2)} ×`, median(ratios) <= 2)
  say(`start with ${principals} principals and ${sessions} sessions (<3 s)`, `${(many.startMs / 1000).toFixed(2)} s`, many.startMs < 3_000)
  console.log(`${driver.padEnd(6)} memory per principal, with its 5 sessions and its credential ${perPrincipal.toFixed(1).padStart(9)} KiB   (${few.rss.toFixed(0)} → ${many.rss.toFixed(0)} MiB)`)
  console.log(`${driver.padEnd(6)} a call: ${median(few.micros).toFixed(0)} µs with 10, ${median(many.micros).toFixed(0)} µs with ${sessions}; start with 10: ${(few.startMs / 1000).toFixed(2)} s\n`)
}

async function fill (driver: 'lmdb' | 'redis', { principals, sessions }: typeof SIZES[number]): Promise<Scene> {
  const name = `${driver}-${sessions}`
  const config = join(work, `${name}.yaml`)
  const env: Record<string, string> = { ...ENV }
  if (driver === 'redis') env.REDIS_URL = await redisUrl(name)
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: ${driver}, key: { env: STATE_KEY }, ${driver === 'lmdb' ? `path: "${join(work, name)}"` : 'url: { env: REDIS_URL }'} }
upstreams: { tools: { url: "${mcpUrl}", credential: { type: refresh_token, token_endpoint: "http://127.0.0.1:1/token", client_id: scale } } }
`)
  const keysFile = join(work, `${name}.json`)
  const started = performance.now()
  const filled = spawnSync(process.execPath, [TYPESCRIPT, FILL, config, keysFile, String(principals), String(sessions)], { env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' })
  if (filled.status !== 0) throw new Error(`the state could not be filled: ${filled.stderr}`)
  console.log(`${driver}: ${principals} principals and ${sessions} sessions written in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  return { config, keys: JSON.parse(readFileSync(keysFile, 'utf8')) as string[], env }
}

async function redisUrl (name: string): Promise<string> {
  const port = await freePort()
  const redis = start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', work], join(work, `${name}-redis.log`))
  await until(redis, async () => await accepts(port))
  return `redis://127.0.0.1:${port}`
}

async function figures ({ config, keys, env }: Scene): Promise<Figures> {
  const starts: number[] = []
  let sidecar: Child | undefined
  for (let round = 0; round < 3; round++) {
    await sidecar?.stop()
    const started = performance.now()
    sidecar = start(process.execPath, [CLI, 'serve', '-c', config], `${config}.${round}.log`, env)
    await until(sidecar, () => readFileSync((sidecar as Child).log, 'utf8').includes('"event":"listening"') || undefined)
    starts.push(performance.now() - started)
  }
  const running = sidecar as Child
  const line = readFileSync(running.log, 'utf8').split('\n').find((text) => text.includes('"event":"listening"')) as string
  const { proxy } = JSON.parse(line) as { proxy: string }
  // Credentials are got ready in the background.
  await sleep(5_000)
  const micros: number[] = []
  for (let round = 0; round < ROUNDS; round++) micros.push(await callMicros(`${proxy}/tools/mcp`, keys, CALLS))
  const { rss } = memory(running.pid) ?? { rss: Number.NaN }
  await running.stop()
  return { startMs: median(starts), rss, micros }
}
