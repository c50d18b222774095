import { once } from 'node:events'
import type { ValetEvent } from '../telemetry/events.js'
import { pasteable } from './paste.js'
import { play } from './play.js'
import { createPalette, describe, type Palette } from './report.js'
import { setStage, type Ports, type Stage } from './stage.js'

const LIFETIME_S = 15
const PACKAGES = '@modelcontextprotocol/client @modelcontextprotocol/server'

export interface DemoOptions {
  /** Whether to end after the calls; otherwise it stays up until `signal` aborts. */
  readonly once: boolean
  /** Where the text goes; the process's output unless given. */
  readonly write?: (text: string) => void
  /** Read for NO_COLOR alone. */
  readonly env?: NodeJS.ProcessEnv
  /** Whether `write` leads to a terminal; asked of the process's output unless given. */
  readonly tty?: boolean
  /** 8401 and 8402 unless given; a port that is taken is replaced by a free one. */
  readonly ports?: Ports
  readonly signal?: AbortSignal
}

/**
 * The verb `demo`: a real token issuer, a real MCP server that wants real tokens, the sidecar in front of it, and an
 * agent that calls a tool with a session key while its token is revoked under it.
 *
 * @returns the exit code: 0 when the calls went as they should, else 1, with a sentence on what to do
 */
export async function runDemo (options: DemoOptions): Promise<0 | 1> {
  const { write = (text) => { process.stdout.write(text) }, env = process.env, ports = { proxy: 8401, admin: 8402 } } = options
  const palette = createPalette((options.tty ?? process.stdout.isTTY) && (env.NO_COLOR ?? '') === '')
  const refreshes = announceRefreshes(write, palette)
  let stage: Stage | undefined
  try {
    write(`\n  ${palette.strong('mcp-valet demo')} ${palette.soft('— an agent with a session key, an MCP server that wants real tokens')}\n\n`)
    stage = await setStage({ ports, lifetime: LIFETIME_S, onEvent: refreshes.onEvent })
    write(describe({ ...await play(stage), lifetime: LIFETIME_S }, palette))
    if (options.once) return 0

    write('\n' + pasteable(stage, palette) + '\n')
    refreshes.start()
    await aborted(options.signal)
    return 0
  } catch (error) {
    write(`  ${advice(error)}\n`)
    return 1
  } finally {
    await stage?.close()
  }
}

/** Says one line for each refresh, from when it is started: the ones before are told of in the report. */
function announceRefreshes (write: (text: string) => void, { soft, warm, good }: Palette) {
  let started = false
  return {
    start: () => { started = true },
    onEvent: (event: ValetEvent) => {
      if (!started || event.event !== 'refresh') return
      const { outcome, trigger, previous = '', token = '' } = event
      const what = outcome === 'ok' ? `${warm(`<${previous}>`)} → ${good(`<${token}>`)}` : `${outcome}: ${event.reason}`
      write(`  ${soft(`refresh (${trigger})`)} ${what}\n`)
    },
  }
}

async function aborted (signal: AbortSignal | undefined): Promise<void> {
  if (signal?.aborted !== true) await once(signal ?? new EventTarget(), 'abort')
}

/** @returns one sentence: what went wrong, and what to do about it */
export function advice (error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ERR_MODULE_NOT_FOUND' && message.includes('@modelcontextprotocol/')) {
    return `The demo needs the optional packages: npm i ${PACKAGES}`
  }
  return `The demo failed: ${message}. Run it again, and if it fails again report this line with your versions of node and mcp-valet.`
}
