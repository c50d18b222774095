/** `npm run bench`: starts everything, runs the parts one after the other, prints and writes what it found. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bars } from './bars.js'
import { signalAll, stopAll } from './lib/children.js'
import { Load } from './lib/load.js'
import { mintSecrets, Upstream } from './lib/upstream.js'
import { HELP, readOptions, type Options } from './options.js'
import { report } from './report.js'
import { machine, type Results } from './results.js'
import { OverheadReader } from './scenarios/overhead.js'
import { runRounds } from './scenarios/rounds.js'
import { runStorms } from './scenarios/storm.js'
import { startAll } from './targets/all.js'
import { logLines } from './targets/valet.js'

const progress = (line: string): void => { process.stderr.write(`${line}\n`) }

async function run (options: Options, dir: string): Promise<Results> {
  const results: Results = {
    date: new Date().toISOString(), machine: machine(), options, missing: [], throughput: [], latency: [],
  }
  const secrets = mintSecrets()
  const upstream = await Upstream.start(join(dir, 'upstream.log'), secrets, options.tokenDelay)
  const load = await Load.start(join(dir, 'load.log'))
  const setting = { upstream, secrets, dir }

  const kinds = (['json', 'sse'] as const).filter(kind => options.only.includes(kind))
  const latency = options.only.includes('latency')
  if (kinds.length > 0 || latency) {
    const { targets, missing } = await startAll(setting)
    results.missing = missing
    for (const { name, reason } of missing) progress(`${name}: ${reason}`)
    const valet = targets.find(({ name }) => name === 'valet')
    const overhead = valet?.metricsUrl === undefined ? undefined : new OverheadReader(valet.metricsUrl)
    const plan = { load, targets, options, progress }
    if (kinds.length > 0) {
      const { warmup, calls, rounds } = options
      results.throughput = await runRounds({ ...plan, title: 'closed loop', kinds, rounds, slices: 1, warmup, measure: port => load.closed(port, calls) })
      await overhead?.read('closed loop')
    }
    if (latency) {
      const { rate, seconds, slices } = options
      const warmup = kinds.length > 0 ? options.connections * 10 : options.warmup
      const title = `${rate} calls/s`
      results.latency = await runRounds({
        ...plan, title, kinds: ['json', 'sse'], rounds: options.latencyRounds, slices, warmup, measure: port => load.paced(port, rate, seconds / slices),
      })
      await overhead?.read(title)
    }
    const total = overhead?.total()
    if (overhead && total) results.overhead = { total, parts: overhead.parts, sent: load.sentTo(valet!.port) }
    if (valet?.child) results.log = logLines(valet.child.log)
    await Promise.all(targets.map(target => target.child?.stop()))
  }
  if (options.only.includes('storm')) results.storm = await runStorms(load, setting, options, progress)
  return results
}

function write (out: string, json: string, date: string): string {
  mkdirSync(out, { recursive: true })
  const file = join(out, `${date.replace(/[:.]/g, '-')}.json`)
  writeFileSync(file, json)
  writeFileSync(join(out, 'latest.json'), json)
  return file
}

async function main (): Promise<number> {
  let options: Options | undefined
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    progress(`${(error as Error).message}\n\n${HELP}`)
    return 2
  }
  if (options === undefined) {
    process.stdout.write(HELP)
    return 0
  }
  const dir = mkdtempSync(join(tmpdir(), 'mcp-valet-bench-'))
  process.on('exit', () => {
    signalAll()
    rmSync(dir, { recursive: true, force: true })
  })
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
    // Not `once`: the loader has listeners of its own that let the signal kill us when they find no other.
    process.on(signal, () => { void stopAll().finally(() => process.exit(code)) })
  }
  try {
    const results = await run(options, dir)
    const judged = bars(results)
    const json = `${JSON.stringify({ ...results, bars: judged }, null, 2)}\n`
    const file = write(options.out, json, results.date)
    process.stdout.write(options.json ? json : report(results, judged))
    progress(`results: ${file}`)
    return options.assert && judged.some(({ verdict }) => verdict !== 'PASS') ? 1 : 0
  } finally {
    await stopAll()
  }
}

main().then(
  code => { process.exitCode = code },
  (error: Error) => { progress(`bench: ${error.stack ?? error.message}`); process.exit(1) })
