/** `npm run conformance`: the official suite, directly and through mcp-valet, scenario by scenario. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCompatibility } from '../helpers/compatibility.js'
import { differences, failsDirectly, tally, type Check, type Result } from './compare.js'
import { chosen, HELP, readOptions, type Options } from './options.js'
import { probePolicy } from './probe.js'
import { markdown, nameOf, objections } from './report.js'
import { setStage, type Stage } from './stage.js'
import { fetchSuite, RUNS, type Suite } from './suites.js'

interface Row { readonly suite: Suite, readonly spec: string, readonly scenario: string }

const progress = (line: string): void => { process.stderr.write(`${line}\n`) }

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
  progress('fetching the suites, where npm has them not yet')
  const rows = chosen(await allRows(), options.only)
  const stage = await setStage()
  const folder = await mkdtemp(join(tmpdir(), 'mcp-valet-conformance-'))
  const close = async (): Promise<void> => {
    await stage.close()
    await rm(folder, { recursive: true, force: true })
  }
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]] as const) {
    process.on(signal, () => { void close().finally(() => process.exit(code)) })
  }
  try {
    return await judge(rows, stage, folder, options)
  } finally {
    await close()
  }
}

async function judge (rows: readonly Row[], stage: Stage, folder: string, options: Options): Promise<number> {
  const started = performance.now()
  const policy = await probePolicy(stage)
  const results: Result[] = []
  for (const [i, row] of rows.entries()) {
    const result = await runRow(row, stage, join(folder, String(i)))
    results.push(result)
    progress(`${String(i + 1).padStart(3)}/${rows.length} ${nameOf(result)}: ${tally(result.direct)} directly, ${tally(result.through)} through`)
  }

  const found = { ...await stage.valet.counts(), policy, complete: options.only.length === 0 }
  const wrong = objections(results, found)
  const seconds = Math.round((performance.now() - started) / 1000)
  progress(`${rows.length} scenarios in ${seconds} s; meanwhile ${found.refreshes} refreshes, ${found.failed} that failed, ${stage.fixture.refused} calls refused with a 401, ${found.replays} mended by a replay`)
  for (const line of stage.valet.complaints.filter((complaint) => !complaint.includes('"event":"denied"'))) progress(`mcp-valet said: ${line}`)
  if (wrong.length > 0) {
    process.stdout.write(`${wrong.join('\n')}\n`)
    return 1
  }
  if (options.write) await writeCompatibility('conformance', markdown(results, found))
  process.stdout.write('no difference between direct and through mcp-valet\n')
  return 0
}

async function allRows (): Promise<Row[]> {
  const suites = new Map<string, Suite>()
  const rows: Row[] = []
  for (const { spec, release } of RUNS) {
    const suite = suites.get(release) ?? await fetchSuite(release)
    suites.set(release, suite)
    for (const scenario of await suite.scenarios(spec)) rows.push({ suite, spec, scenario })
  }
  return rows
}

/** Timing is part of some scenarios, and machines are busy: what differs is run once more, on both sides. */
async function runRow (row: Row, stage: Stage, folder: string): Promise<Result> {
  const first = await runBoth(row, stage, `${folder}-1`)
  if (differences(first).length === 0 && !failsDirectly(first)) return first
  const second = { ...await runBoth(row, stage, `${folder}-2`), again: true }
  if (differences(second).length === 0 && !failsDirectly(second)) progress(`UNSTEADY, and equal when run again: ${nameOf(second)}: ${differences(first).map(({ check }) => check).join(', ') || 'it failed directly'}`)
  return second
}

async function runBoth ({ suite, spec, scenario }: Row, { direct, through }: Stage, folder: string): Promise<Result> {
  const side = async (url: string, name: string): Promise<Check[]> => await suite.run(scenario, spec, url, `${folder}-${name}`)
  return { spec, release: suite.release, scenario, direct: await side(direct, 'direct'), through: await side(through, 'through'), again: false }
}

main().then(
  (code) => { process.exitCode = code },
  (error: Error) => { progress(`conformance: ${error.stack ?? error.message}`); process.exit(1) })
