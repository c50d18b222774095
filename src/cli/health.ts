import { readFile } from 'node:fs/promises'
import { DEFAULT_ADMIN_LISTEN, readListen } from '../config/listen.js'
import { parseConfig, textIn } from '../config/parse.js'
import { ConfigError } from '../config/problem.js'
import { mapAt, readable, textAt } from '../config/raw.js'
import { AdminClient } from './admin-client.js'
import { AdminFailure } from './admin-failure.js'
import { NAME_IT, nameOf, placeOfListen, placeOfText, type AdminPlace } from './admin-place.js'
import { printable } from './printable.js'
import type { Terminal } from './terminal.js'

/** Milliseconds; below the patience of whoever runs this as a probe. */
const PATIENCE = 3_000

export interface HealthOptions {
  readonly config: string
  /** Whether somebody named that file on the command line. */
  readonly isNamed?: boolean | undefined
  readonly adminUrl?: string | undefined
  /** Ask whether the process is alive, not whether it should get calls. */
  readonly live?: boolean | undefined
}

/**
 * `mcp-valet health`: asks `/readyz`, or `/healthz`, of a running sidecar; what an orchestrator runs as its probe, so it
 * loads little and judges nothing but the answer.
 * @returns 0 where the answer is yes, 1 where it is no, 3 where there is none
 */
export async function health (options: HealthOptions, terminal: Terminal): Promise<0 | 1 | 3> {
  const { adminUrl, live = false } = options
  try {
    const at = adminUrl === undefined ? await placeInConfig(options, terminal) : placeOfText(adminUrl)
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
 * sidecar look ill. Where the line cannot be read, the default is asked, and that is told.
 * @throws {AdminFailure} where the command line names a file that is not there: somebody else may be at the default
 */
async function placeInConfig ({ config, isNamed = false }: HealthOptions, { err, palette }: Terminal): Promise<AdminPlace> {
  let text: string | undefined
  try {
    text = await readFile(config, 'utf8')
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    if (isNamed) throw new AdminFailure(1, `${printable(config, 300)} ${code === 'ENOENT' ? 'is not there' : `cannot be read (${code})`}, so where the sidecar listens is not known: ${NAME_IT}`)
  }
  const { listen, isSure } = listenIn(text, config)
  if (listen !== undefined && readable(listen, readListen) !== undefined) return placeOfListen(listen, config)
  if (listen !== undefined || !isSure) err(`${palette.warm('warning')}: the config could not be read, so the default was asked: ${DEFAULT_ADMIN_LISTEN}\n`)
  return placeOfListen(DEFAULT_ADMIN_LISTEN, config)
}

/** What is written as `admin.listen`. `isSure` where nothing of the text was left out. */
function listenIn (text: string | undefined, config: string): { listen: string | undefined, isSure: boolean } {
  if (text === undefined) return { listen: undefined, isSure: false }
  try {
    return { listen: textAt(mapAt(parseConfig(text, config).value, 'admin'), 'listen'), isSure: true }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return { listen: textIn(text, ['admin', 'listen']), isSure: false }
  }
}
