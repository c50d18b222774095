/** `npm run interop`: the clients that people have, through mcp-valet, to servers that they run. */
import { setMaxListeners } from 'node:events'
import { writeCompatibility } from '../helpers/compatibility.js'
import { runCell, type Cell } from './cell.js'
import { CLIENTS, type AgentClient, type Runtime } from './clients.js'
import { Closers } from './closers.js'
import { matrix, summary } from './matrix.js'
import { HELP, readOptions, type Options } from './options.js'
import { judgeAll } from './overall.js'
import { judgeOverhead, measureOverhead } from './overhead.js'
import { preparePython } from './python.js'
import { runRefusal } from './refusal.js'
import { startFastMcp, startServers } from './servers.js'
import { startValet, type Principal } from './valet.js'
import { versionOf } from './versions.js'

const progress = (line: string): void => { process.stderr.write(`${line}\n`) }

async function run (options: Options, closers: Closers): Promise<boolean> {
  const interpreters = new Map<Runtime, string>([['node', process.execPath]])
  for (const file of ['requirements.txt', 'requirements-sdk1.txt'] as const) interpreters.set(file, await preparePython(file, progress))

  const servers = await startServers(closers, interpreters.get('requirements.txt') as string, versionOf({ runtime: 'requirements.txt', package: 'fastmcp' }))
  const wanted = servers.flatMap((server, row) => CLIENTS.filter(({ id }) => options.only.includes(id)).map((client, column) => {
    const principal: Principal = (row + column) % 2 === 0 ? 'alice' : 'bob'
    return { client, server, session: { agent: client.id, principal, tools: { deny: ['search_*'] } } }
  }))
  const valet = await startValet(closers, servers, wanted.map(({ session }) => session))
  const cells = wanted.map(({ client, server, session }): Cell => ({ client, server, principal: session.principal, key: valet.keys.get(session) as string }))

  const interpreterOf = ({ runtime }: AgentClient): string => interpreters.get(runtime) as string
  const outcomes = await runAll(cells, options.jobs, async (cell) => {
    const outcome = await runCell(cell, valet, interpreterOf(cell.client))
    progress(summary(outcome))
    return outcome
  })
  const { facts, failures: found } = await judgeAll(outcomes, servers, valet)
  const failures = [...found]
  const refusals = await runAll(CLIENTS.filter(({ id }) => options.only.includes(id)), options.jobs, async (client) => await runRefusal(client, valet, interpreterOf(client)))
  for (const failure of refusals) if (failure !== undefined) failures.push(failure)
  const table = matrix(outcomes, servers)
  process.stdout.write(`\n${table}\n\n${facts.join('\n')}\n`)
  for (const failure of failures) progress(`FAILED: ${failure}`)
  const good = failures.length === 0 && outcomes.every(({ failure }) => failure === undefined)
  if (options.write && good) await writeCompatibility('interop', table)
  return good
}

async function runOverhead (calls: number, closers: Closers): Promise<boolean> {
  const python = await preparePython('requirements.txt', progress)
  const server = await startFastMcp(closers, python, versionOf({ runtime: 'requirements.txt', package: 'fastmcp' }), 600)
  const session = { agent: 'overhead', principal: 'alice' } as const
  const valet = await startValet(closers, [server], [session])
  const { text, good } = judgeOverhead(await measureOverhead(closers, { server, valet, key: valet.keys.get(session) as string, python, calls, progress }))
  process.stdout.write(`${server.name} ${server.version}\n${text}\n`)
  return good
}

/** In order, as many at once as `jobs` says. */
async function runAll<T, R> (items: readonly T[], jobs: number, one: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const waiting = [...items.entries()]
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) results[next[0]] = await one(next[1])
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  return results
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
  const closers = new Closers()
  for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]] as const) {
    process.on(signal, () => { void closers.close().finally(() => process.exit(code)) })
  }
  const started = Date.now()
  try {
    const good = options.overhead === undefined ? await run(options, closers) : await runOverhead(options.overhead, closers)
    progress(`${good ? 'all of it holds' : 'FAILED'}, ${Math.round((Date.now() - started) / 1000)} s`)
    return good ? 0 : 1
  } finally {
    await closers.close()
  }
}

setMaxListeners(0)
main().then(
  (code) => { process.exitCode = code },
  (error: Error) => { progress(`interop: ${error.stack ?? error.message}`); process.exit(1) })
