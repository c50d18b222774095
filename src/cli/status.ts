import { setTimeout as sleep } from 'node:timers/promises'
import { AdminFailure } from './admin-failure.js'
import type { AdminClient } from './admin-client.js'
import { withSidecar, type AdminExit, type TargetOptions } from './admin-verb.js'
import { agentUrl } from './agent-urls.js'
import { isCredential, UPSTREAMS, type Said } from './expected.js'
import { printable, printableJson } from './printable.js'
import { table, type Cell } from './table.js'
import type { Palette, Terminal } from './terminal.js'
import { relative } from './when.js'

/** Worst first: what needs a person must not be searched for. */
const STATES = ['revoked', 'failed', 'expired', 'expiring', 'valid']
const NEEDS_A_PERSON = new Set<unknown>(['revoked', 'failed'])
/** There is no state of its own for it: a credential that has no token yet cannot be used, as one that has failed cannot. */
const UNDER_WAY = 'none yet: its first renewal is under way'
const CLEAR = '\u001b[H\u001b[2J'

export interface StatusOptions extends TargetOptions {
  readonly json?: boolean | undefined
  /** Look again and again, until `stop`. */
  readonly watch?: boolean | undefined
  readonly stop: AbortSignal
  /** Milliseconds between two looks. */
  readonly interval?: number
}

interface Standing { readonly proxy: unknown, readonly upstreams: readonly Said[], readonly credentials: Said[] }

/** `mcp-valet status`. @returns 2 where a credential has failed or is revoked; of `--watch`, as the last look was */
export async function status (options: StatusOptions, terminal: Terminal): Promise<AdminExit> {
  const { watch = false, stop, interval = 2_000 } = options
  return await withSidecar(options, terminal, async (client) => {
    if (!watch) return show(await look(client), client, options, terminal)
    let exit: AdminExit = 0
    while (!stop.aborted) {
      exit = await glance(client, options, terminal)
      await sleep(interval, undefined, { signal: stop }).catch(() => {})
    }
    return exit
  })
}

/** One look of many: a sidecar that is being restarted will be there again. */
async function glance (client: AdminClient, options: StatusOptions, terminal: Terminal): Promise<AdminExit> {
  try {
    const standing = await look(client)
    if (terminal.isTerminal && options.json !== true) terminal.out(CLEAR)
    return show(standing, client, options, terminal)
  } catch (error) {
    if (!(error instanceof AdminFailure) || error.exitCode !== 3) throw error
    terminal.err(`${terminal.isTerminal ? CLEAR : ''}${terminal.palette.bad('error')}: ${error.message}\n`)
    return 3
  }
}

async function look (client: AdminClient): Promise<Standing> {
  const [{ proxy, upstreams }, credentials] = await Promise.all([client.ask('GET', '/upstreams', UPSTREAMS), client.list('/credentials', 'credentials', isCredential)])
  return { proxy, upstreams: upstreams as Said[], credentials }
}

function show ({ proxy, upstreams, credentials }: Standing, client: AdminClient, { json, watch }: StatusOptions, terminal: Terminal): AdminExit {
  const { out, palette } = terminal
  const troubled = credentials.filter(needsPerson)
  if (json === true) {
    out(printableJson({ proxy, upstreams, credentials }, terminal.isTerminal && watch !== true ? 2 : undefined) + '\n')
  } else {
    out(table(['UPSTREAM', 'AGENTS CALL', 'CREDENTIALS'], upstreams.map(({ name, path }) => [
      { text: printable(name) }, { text: agentUrl(proxy, path, client.host) }, { text: census(credentials.filter(({ upstream }) => upstream === name)) },
    ]), palette))
    if (credentials.length > 0) out(`\n${credentialTable(credentials, palette)}`)
    if (troubled.length > 0) out(`\n${palette.bad(`${troubled.length} of ${credentials.length} credentials`)} failed or revoked: LAST ERROR says why. A revoked one needs a new login, a failed one is tried again.\n`)
  }
  return troubled.length > 0 ? 2 : 0
}

function needsPerson (credential: Said): boolean {
  return NEEDS_A_PERSON.has(credential.state) && !isFirstUnderWay(credential)
}

function isFirstUnderWay ({ state, error }: Said): boolean {
  return state === 'failed' && (error ?? null) === null
}

/** `3 valid, 1 failed`. */
function census (credentials: readonly Said[]): string {
  const counts = STATES.map((state) => [credentials.filter((credential) => credential.state === state).length, state] as const)
  return counts.filter(([count]) => count > 0).reverse().map(([count, state]) => `${count} ${state}`).join(', ') || 'none'
}

function credentialTable (credentials: Said[], palette: Palette): string {
  const now = Date.now()
  const sorted = credentials.sort((a, b) => STATES.indexOf(String(a.state)) - STATES.indexOf(String(b.state)))
  return table(['PRINCIPAL', 'UPSTREAM', 'TYPE', 'STATE', 'EXPIRES', 'REFRESHED', 'TOKEN', 'LAST ERROR'], sorted.map((credential) => credentialRow(credential, now, palette)), palette)
}

function credentialRow (credential: Said, now: number, palette: Palette): Cell[] {
  const { principal, upstream, type, state, token, error } = credential
  return [
    { text: printable(principal) },
    { text: printable(upstream) },
    { text: printable(type) },
    { text: printable(state), paint: needsPerson(credential) ? palette.bad : state === 'valid' ? palette.good : palette.warm },
    { text: relative(credential.expires_at, now) },
    { text: relative(credential.refreshed_at, now) },
    { text: printable(token ?? '') },
    { text: isFirstUnderWay(credential) ? UNDER_WAY : printable(error ?? '', 300) },
  ]
}
