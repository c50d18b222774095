import { pino, type DestinationStream, type Logger } from 'pino'
import type { ValetEvent } from './events.js'
import { levelOf, messageOf } from './levels.js'

/** Bytes that wait for a reader who is slow, or for space; what comes then is dropped. */
const MOST_WAITING = 8 * 1024 * 1024

export interface LogOptions {
  readonly level?: string | undefined
  /** Where lines go; standard output unless a test wants them. */
  readonly destination?: DestinationStream | undefined
  /** Lines for people instead of for programs. */
  readonly pretty?: boolean | undefined
}

/** The one place that knows pino: typed events in, one JSON line each out. */
export async function createLog (options: LogOptions = {}): Promise<(event: ValetEvent) => void> {
  const logger = pino({
    level: options.level ?? 'info',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    // What an agent made up, or a config: it must not move a terminal's cursor.
    serializers: { tool: printable, agent: printable, principal: printable },
  }, options.destination ?? await standardOutput(options.pretty === true))
  return (event) => write(logger, event)
}

function write (logger: Logger, event: ValetEvent): void {
  const level = levelOf(event)
  if (logger.isLevelEnabled(level)) logger[level](event, messageOf(event))
}

/** Control, format and other characters without a shape of their own, and line separators, as a replacement character. */
function printable (text: unknown): unknown {
  return typeof text === 'string' ? text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\ufffd') : text
}

/**
 * A full disk costs lines of the log, and neither calls nor the end of the process: an error that nobody hears is an
 * uncaught exception, which is logged, which fails; and at exit pino's stream tries to write what is left for ever.
 */
function unfailing (output: ReturnType<typeof pino.destination>): DestinationStream {
  const { flushSync } = output
  output.on('error', () => { output.flushSync = () => {} })
  output.on('write', () => { output.flushSync = flushSync })
  return output
}

async function standardOutput (pretty: boolean): Promise<DestinationStream> {
  if (!pretty) return unfailing(pino.destination({ dest: 1, sync: false, maxLength: MOST_WAITING }))
  const { PinoPretty } = await import('pino-pretty')
  return PinoPretty({ sync: true, ignore: 'event', singleLine: true, translateTime: 'SYS:HH:MM:ss' })
}
