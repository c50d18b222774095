/** `npm run soak`: hours of an agent's life in minutes, with everything around the sidecar failing at random. */
import { setMaxListeners } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { signalAll, stopAll } from '../lib/children.js'
import { bounds } from './bounds.js'
import { crowd } from './crowd.js'
import { openSilent } from './agents/listener.js'
import { HELP, JUDGED_FROM, readOptions, type Options } from './options.js'
import { readLog } from './log.js'
import { progress, report } from './report.js'
import type { Results } from './results.js'
import { byLabels } from './series.js'
import { thirds } from './thirds.js'
import { look, overheadOf, type Sample } from './watch.js'
import { createWorld, type World } from './world.js'

const SAMPLE_MS = 5_000
const PROGRESS_MS = 30_000
/** Above any patience of an agent. */
const GOODBYE_MS = 90_000
/** Until connections that nobody uses have closed on both sides. */
const REST_MS = 20_000

/** Above the grace that calls and streams have by default. */
const END_MS = 30_000

const say = (line: string): void => { process.stderr.write(`${line}\n`) }

async function soak (options: Options, dir: string, stop: AbortController): Promise<Results> {
  const totalMs = options.minutes * 60_000
  const world = await createWorld(dir, options.hide, stop.signal, say)
  const { ledger, sidecar, hop, issuer } = world
  const exited = new Promise<void>((resolve) => { sidecar.child.process.once('exit', () => { stop.abort(stop.signal.aborted ? undefined : 'the sidecar has ended'); resolve() }) })
  try {
    const started = performance.now()
    const start = await look(world, started)
    const silent = await openSilent(world)
    say(`soaking mcp-valet at ${sidecar.proxyUrl}, process ${sidecar.child.pid}, for ${options.minutes} minutes; Ctrl-C ends it early, with the report`)
    hop.failing = issuer.failing = true
    const { agents, visits, counted, disturbances } = await crowd(world, options.agents, totalMs)
    const timer = setTimeout(() => stop.abort('time'), totalMs)
    const samples = await watch(world, started, Math.min(SAMPLE_MS, totalMs / 12))
    clearTimeout(timer)
    const early = stop.signal.reason === 'time' ? undefined : String(stop.signal.reason)

    hop.failing = issuer.failing = issuer.outage = false
    const stayed = await Promise.race([Promise.all(agents).then(() => false), sleep(GOODBYE_MS, true, { ref: false })])
    if (stayed) ledger.wrong('agents were left without an answer', `${ledger.open} exchanges are open ${GOODBYE_MS / 1000} s after the end`)
    const seconds = (performance.now() - started) / 1000
    const silentFor = silent.silentFor
    const heardAfter = await silent.poke(world)
    await silent.close()
    if (sidecar.alive && totalMs >= JUDGED_FROM * 60_000) await sleep(REST_MS)
    const metrics = await sidecar.metrics().catch(() => '')
    const rest = sidecar.alive ? await look(world, started).catch(() => undefined) : undefined
    sidecar.child.process.kill('SIGTERM')
    await Promise.race([exited, sleep(END_MS, undefined, { ref: false })])
    return {
      date: new Date().toISOString(),
      node: process.versions.node,
      seconds,
      early,
      ledger: {
        calls: ledger.calls,
        injected: Object.fromEntries(ledger.failures.injected),
        injectedTotal: ledger.injected,
        ours: Object.fromEntries(ledger.failures.ours),
        oursTotal: ledger.ours,
        authentication: ledger.authentication,
        made: Object.fromEntries(ledger.made),
        examples: ledger.examples,
      },
      refreshes: byLabels(metrics, 'mcp_valet_token_refresh_total', ['trigger', 'outcome']),
      replays: byLabels(metrics, 'mcp_valet_replays_total', ['status', 'outcome']),
      overhead: overheadOf(rest ?? samples.at(-1), start),
      visits,
      counted,
      disturbances,
      silent: { seconds: silentFor, heardAfter },
      log: await readLog(sidecar.child.log),
      start,
      samples,
      rest,
      thirds: thirds(samples),
      exitCode: sidecar.child.process.exitCode,
    }
  } finally {
    if (options.log !== undefined) copyFileSync(sidecar.child.log, options.log)
    await stopAll()
    await world.close()
  }
}

/** Takes samples until the run is over. */
async function watch (world: World, started: number, everyMs: number): Promise<Sample[]> {
  const samples: Sample[] = []
  let told: Sample | undefined
  while (!world.signal.aborted) {
    await world.wait(everyMs)
    try {
      const sample = await look(world, started)
      samples.push(sample)
      if (sample.at - (told?.at ?? 0) < PROGRESS_MS / 1000) continue
      say(progress(sample, told))
      told = sample
    } catch (error) {
      if (world.sidecar.alive) world.ledger.wrong('the sidecar gave no metrics', (error as Error).message)
    }
  }
  return samples
}

async function main (): Promise<number> {
  let options: Options | undefined
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    say(`${(error as Error).message}\n\n${HELP}`)
    return 2
  }
  if (options === undefined) {
    process.stdout.write(HELP)
    return 0
  }
  const dir = mkdtempSync(join(tmpdir(), 'mcp-valet-soak-'))
  process.on('exit', () => {
    signalAll()
    rmSync(dir, { recursive: true, force: true })
  })
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // The second one does not wait for the report.
    process.on(signal, () => { if (stop.signal.aborted) process.exit(130); else stop.abort(signal) })
  }
  const results = await soak(options, dir, stop)
  const judged = bounds(results)
  process.stdout.write(report(results, judged))
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify({ ...results, bounds: judged }, null, 2)}\n`)
  return judged.some(({ verdict }) => verdict === 'FAILED') ? 1 : 0
}

main().then(
  (code) => { process.exit(code) },
  (error: Error) => { say(`soak: ${error.stack ?? error.message}`); process.exit(1) })
