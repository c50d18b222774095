import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

const isThere = ['prometheus', 'promtool'].every((program) => spawnSync(program, ['--version']).status === 0)

/** Why the tests with a real Prometheus are skipped; false where they run, or have to (`MCP_VALET_TEST_PROMETHEUS=required`). */
export const skip: string | false = isThere || process.env.MCP_VALET_TEST_PROMETHEUS === 'required'
  ? false
  : 'there is no prometheus and promtool here: install them, as with apt-get install prometheus'

if (skip !== false) process.stderr.write(`SKIPPED, what Prometheus has to show: ${skip}\n`)

/** Runs promtool to its end. */
export function promtool (args: readonly string[], input = ''): { code: number | null, output: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { encoding: 'utf8', input, timeout: 60_000 })
  return { code: status, output: error === undefined ? stdout + stderr : String(error) }
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly state: 'pending' | 'firing'
}

export interface Sample { readonly metric: Readonly<Record<string, string>>, readonly value: [time: number, value: string] }

export interface Prometheus {
  readonly url: string
  /** Pending and firing. */
  alerts (): Promise<Alert[]>
  /** @throws where the expression does not parse or cannot be evaluated, with Prometheus' own words */
  query (expression: string): Promise<Sample[]>
  /** What it scrapes from now on: admin URLs by the `instance` that they are shown as. */
  scrape (targets: Readonly<Record<string, string>>): void
}

/**
 * A Prometheus of the test's own, in a folder of its own, on a free port of loopback, with short intervals. It ends with the test.
 * @param rules texts of rule files, by name
 * @param targets what it scrapes from its start
 */
export async function startPrometheus (t: Test, rules: Readonly<Record<string, string>>, targets: Readonly<Record<string, string>>): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), 'valet-prometheus-'))
  for (const [name, text] of Object.entries(rules)) writeFileSync(join(folder, `${name}.rules.yml`), text)
  const scrape = (targets: Readonly<Record<string, string>>): void => {
    const groups = Object.entries(targets).map(([instance, url]) => ({ targets: [new URL(url).host], labels: { instance } }))
    writeFileSync(join(folder, 'targets.new'), JSON.stringify(groups))
    // By a rename, so that half a file is never read.
    renameSync(join(folder, 'targets.new'), join(folder, 'targets.json'))
  }
  scrape(targets)
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify({
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '500ms' },
    rule_files: [join(folder, '*.rules.yml')],
    scrape_configs: [{ job_name: 'mcp-valet', file_sd_configs: [{ files: [join(folder, 'targets.json')], refresh_interval: '1s' }] }],
  }))
  const child = spawn('prometheus', [
    `--config.file=${join(folder, 'prometheus.yml')}`, `--storage.tsdb.path=${join(folder, 'data')}`, '--web.listen-address=127.0.0.1:0',
  ], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended.catch(() => {})
    rmSync(folder, { recursive: true, force: true })
  })
  let log = ''
  child.stderr.on('data', (chunk: Buffer) => { log += String(chunk) })
  const url = await until(() => {
    if (child.exitCode !== null) throw new Error(`prometheus does not start: ${log}`)
    return /msg="Listening on" address=(127\.0\.0\.1:[1-9]\d*)/.exec(log)?.[1]
  }).then((address) => `http://${address}`)
  await until(async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true ? true : undefined)
  const ask = async (path: string): Promise<any> => {
    const answer = await (await fetch(`${url}/api/v1/${path}`)).json() as { status: string, error?: string, data: unknown }
    if (answer.status !== 'success') throw new Error(answer.error)
    return answer.data
  }
  return {
    url,
    scrape,
    alerts: async () => (await ask('alerts')).alerts as Alert[],
    query: async (expression) => (await ask(`query?${new URLSearchParams({ query: expression })}`)).result as Sample[],
  }
}

/** The first value that `look` gives; looks for 30 s. */
export async function until<T> (look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await look()
    if (found !== undefined) return found
    await sleep(50)
  }
  throw new Error('it has not come about within 30 s')
}
