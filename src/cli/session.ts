import { AdminFailure } from './admin-failure.js'
import type { AdminClient } from './admin-client.js'
import { withSidecar, type AdminExit, type TargetOptions } from './admin-verb.js'
import { agentUrls } from './agent-urls.js'
import { isSession, MADE_SESSION, REVOKED, type Said } from './expected.js'
import { printable, printableJson } from './printable.js'
import { table } from './table.js'
import type { Terminal } from './terminal.js'
import { relative } from './when.js'

const LONGEST_ID = 128

export interface CreateOptions extends TargetOptions {
  readonly principal: string
  readonly agent: string
  readonly tools?: readonly string[] | undefined
  readonly deny?: readonly string[] | undefined
  readonly ttl?: string | undefined
  readonly json?: boolean | undefined
  readonly keyOnly?: boolean | undefined
}

/**
 * `mcp-valet session create`. On a terminal it says where the key goes; elsewhere standard output is the key alone, for a
 * script to take, and what else there is to know is on standard error.
 */
export async function createSession (options: CreateOptions, terminal: Terminal): Promise<AdminExit> {
  return await withSidecar(options, terminal, async (client) => {
    const { principal, agent, tools, deny, ttl } = options
    const session = await client.ask('POST', '/sessions', MADE_SESSION, {
      body: {
        principal,
        agent,
        ...(tools === undefined && deny === undefined ? {} : { tools: { ...(tools === undefined ? {} : { allow: tools }), ...(deny === undefined ? {} : { deny }) } }),
        // As the API has it: a number is one of seconds, and a text has a unit.
        ...(ttl === undefined ? {} : { ttl: /^\d{1,15}$/.test(ttl) ? Number(ttl) : ttl }),
      },
    })
    if (options.json === true) terminal.out(printableJson(session, terminal.isTerminal ? 2 : undefined) + '\n')
    else if (terminal.isTerminal && options.keyOnly !== true) await explain(client, session, terminal)
    else {
      terminal.out(`${printable(session.key, LONGEST_ID)}\n`)
      terminal.err(`${summary(session)}\n`)
    }
    return 0
  })
}

async function explain (client: AdminClient, session: Said, { out, palette: { strong, soft, good } }: Terminal): Promise<void> {
  const key = printable(session.key, LONGEST_ID)
  out(`${summary(session)}\n\n  ${strong(good(key))}  ${soft('the session key: shown this once')}\n\n`)
  const { header, urls } = await agentUrls(client, String(session.principal))
  if (urls.length === 0) return
  out(`${soft('Point the agent at')}\n${urls.map((url) => `  ${url}\n`).join('')}${soft('with the header')}\n  ${header}: ${key}\n`)
}

function summary (session: Said): string {
  const { id, agent, principal, expires_at: end } = session
  return `session ${printable(id, LONGEST_ID)}: ${printable(agent)} calls for ${printable(principal)}${end === null ? '' : `, until ${printable(end)}`}`
}

export interface ListOptions extends TargetOptions {
  readonly principal?: string | undefined
  readonly json?: boolean | undefined
}

/** `mcp-valet session list`. */
export async function listSessions (options: ListOptions, terminal: Terminal, now = Date.now()): Promise<AdminExit> {
  return await withSidecar(options, terminal, async (client) => {
    const { principal } = options
    const sessions = await client.list(`/sessions${principal === undefined ? '' : `?principal=${encodeURIComponent(principal)}`}`, 'sessions', isSession)
    if (options.json === true) {
      terminal.out(printableJson({ sessions }, terminal.isTerminal ? 2 : undefined) + '\n')
      return 0
    }
    if (sessions.length === 0) {
      terminal.err('no sessions: open one with mcp-valet session create\n')
      return 0
    }
    const { palette } = terminal
    const byName = (session: Said): string => `${String(session.principal)}\n${String(session.agent)}`
    sessions.sort((a, b) => byName(a) < byName(b) ? -1 : 1)
    terminal.out(table(['SESSION', 'PRINCIPAL', 'AGENT', 'TOOLS', 'ENDS', 'FROM'], sessions.map((session) => {
      const ends = relative(session.expires_at, now)
      return [
        { text: printable(session.id, LONGEST_ID) },
        { text: printable(session.principal) },
        { text: printable(session.agent) },
        { text: printable(toolsOf(session.tools)) },
        { text: ends, paint: ends.endsWith('ago') ? palette.soft : undefined },
        { text: printable(session.source) },
      ]
    }), palette))
    return 0
  })
}

function toolsOf (tools: unknown): string {
  const { allow, deny } = (tools ?? {}) as { allow?: unknown, deny?: unknown }
  if (!Array.isArray(allow) || !Array.isArray(deny)) return 'all'
  const allowed = allow.length === 0 ? 'none' : allow.includes('*') ? 'all' : allow.join(', ')
  return deny.length === 0 ? allowed : `${allowed} but ${deny.join(', ')}`
}

/** What the next id would be answered with, too. */
const HOPELESS = new Set<string | undefined>([undefined, 'ERR_ADMIN_UNAUTHORIZED', 'ERR_ADMIN_OFF', 'ERR_ADMIN_UNAVAILABLE', 'ERR_HOST_REFUSED', 'ERR_ORIGIN_REFUSED'])

/** `mcp-valet session revoke`: all of them, though one of them fails. */
export async function revokeSessions (ids: readonly string[], options: TargetOptions, terminal: Terminal): Promise<AdminExit> {
  return await withSidecar(options, terminal, async (client) => {
    let exit: AdminExit = 0
    for (const [nth, id] of ids.entries()) {
      try {
        await client.ask('DELETE', `/sessions/${encodeURIComponent(id)}`, REVOKED)
        terminal.out(`${printable(id, LONGEST_ID)} revoked\n`)
      } catch (error) {
        if (!(error instanceof AdminFailure)) throw error
        const { exitCode, message, code } = error
        if (HOPELESS.has(code)) throw new AdminFailure(exitCode, `${message}\nNot revoked: ${ids.slice(nth).map((left) => printable(left, LONGEST_ID)).join(', ')}`, code)
        terminal.err(`${terminal.palette.bad('error')}: ${printable(id, LONGEST_ID)}: ${message}\n`)
        exit = 1
      }
    }
    return exit
  })
}
