import { readFile } from 'node:fs/promises'
import { DEFAULT_ADMIN_LISTEN } from '../config/listen.js'
import { parseConfig } from '../config/parse.js'
import { mapAt, textAt } from '../config/raw.js'
import { AdminClient } from './admin-client.js'
import { AdminFailure } from './admin-failure.js'
import { nameOf, placeOfListen, placeOfText, type AdminPlace } from './admin-place.js'
import { printable } from './printable.js'
import type { Terminal } from './terminal.js'

/** Milliseconds; below the patience of whoever runs this as a probe. */
const PATIENCE = 3_000

export interface HealthOptions {
  readonly config: string
  readonly adminUrl?: string | undefined
  /** Ask whether the process is alive, not whether it should get calls. */
  readonly live?: boolean | undefined
}

/**
 * `mcp-valet health`: asks `/readyz`, or `/healthz`, of a running sidecar; what an orchestrator runs as its probe, so it
 * loads little and judges nothing but the answer.
 * @returns 0 where the answer is yes, 1 where it is no, 3 where there is none
 */
export async function health ({ config, adminUrl, live = false }: HealthOptions, terminal: Terminal): Promise<0 | 1 | 3> {
  try {
    const at = adminUrl === undefined ? await placeInConfig(config) : placeOfText(adminUrl)
    const client = new AdminClient({ name: nameOf(at), at, token: undefined, isPlain: false })
    const { status, said } = await client.probe(live ? '/healthz' : '/readyz', PATIENCE)
    const good = live ? 'ok' : 'ready'
    if (status === 200 && said.status === good) {
      terminal.out(`${good}\n`)
      return 0
    }
    throw new AdminFailure(1, complaint(client.name, status, said))
  } catch (error) {
    if (!(error instanceof AdminFailure)) throw error
    terminal.err(`${terminal.palette.bad('error')}: ${error.message}\n`)
    return error.exitCode
  }
}

function complaint (name: string, status: number, said: Record<string, unknown>): string {
  if (said.status !== 'unready' || !Array.isArray(said.reasons)) return `what answers at ${name} is not the admin listener of mcp-valet (HTTP ${status})`
  return `not ready: ${said.reasons.slice(0, 20).map((reason) => printable(reason)).join(', ')}`
}

/**
 * Reads one line of the config, and that leniently: a config that was spoilt while its sidecar runs must not make the
 * sidecar look ill. Where it cannot be read at all, the default is asked.
 */
async function placeInConfig (config: string): Promise<AdminPlace> {
  try {
    const { value } = parseConfig(await readFile(config, 'utf8'), config)
    return placeOfListen(textAt(mapAt(value, 'admin'), 'listen') ?? DEFAULT_ADMIN_LISTEN, config)
  } catch (error) {
    if (error instanceof AdminFailure) throw error
    return placeOfListen(DEFAULT_ADMIN_LISTEN, config)
  }
}
