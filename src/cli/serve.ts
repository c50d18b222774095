import { lstatSync } from 'node:fs'
import { systemClock } from '../clock.js'
import { ConfigError } from '../config/load.js'
import type { Config } from '../config/config.js'
import { secretFiles } from '../config/secret-files.js'
import { renderProblems } from '../config/problem.js'
import { createSidecar } from '../sidecar.js'
import { createLog } from '../telemetry/log.js'
import type { OpenTracing } from '../telemetry/otlp.js'
import { faultOf } from '../telemetry/fault.js'
import { lookAt } from './file-watch.js'
import { keepUp, loader } from './reloading.js'
import { traceTarget } from './trace-target.js'

/** Milliseconds for which idle connections are kept when it stops, as a call may be on its way on one. */
const LINGER = 1_000

export interface ServeOptions {
  readonly config: string
  readonly logLevel: string
  readonly env: NodeJS.ProcessEnv
  readonly stop: AbortSignal
  /** Calls back whenever somebody asks for a reload. */
  readonly onReload: (reload: () => void) => void
}

/** `mcp-valet serve`: runs until it is told to stop. @returns the exit code */
export async function serve (options: ServeOptions): Promise<number> {
  const log = await createLog({ level: options.logLevel, pretty: process.stdout.isTTY })
  // A fault that nobody caught is told without its message, which may hold what a caller or an issuer sent.
  process.on('uncaughtException', (error) => log({ event: 'internal_error', reason: faultOf(error) }))
  process.on('unhandledRejection', (error) => log({ event: 'internal_error', reason: faultOf(error) }))
  const warn = (reason: string): void => log({ event: 'warning', reason })
  const load = loader(options.config, options.env, warn)
  let config: Config
  // Before they are read, so that a change which comes while it starts is one.
  const known = await lookAt([options.config])
  try {
    config = await load()
    for (const [path, state] of await lookAt(secretFiles(config).keys())) known.set(path, state)
  } catch (error) {
    return refuse(error, options.config)
  }
  try {
    const tracing = await tracingTo(traceTarget(options.env), warn)
    const sidecar = await createSidecar(config, { onEvent: log, tracing })
    await keepUp({ sidecar, file: options.config, config, load, clock: systemClock, known, stop: options.stop, onAsked: options.onReload })
    await sidecar.close({ linger: LINGER })
    await tracing?.close()
    return 0
  } catch (error) {
    return refuse(error, options.config)
  }
}

/** Loads what makes traces where somebody wants them, and nowhere else. */
async function tracingTo (target: ReturnType<typeof traceTarget>, warn: (reason: string) => void): Promise<OpenTracing | undefined> {
  if (target === undefined) return undefined
  if ('problem' in target) {
    warn(target.problem)
    return undefined
  }
  const { openTracing } = await import('../telemetry/otlp.js')
  return openTracing(target.origin, warn)
}

function refuse (error: unknown, file: string): number {
  if (error instanceof ConfigError) {
    process.stderr.write(renderProblems(file, error.problems) + `\nNothing was started. Name another config with -c FILE or MCP_VALET_CONFIG, try \`mcp-valet check -c ${file}\` after each change, or see it work with \`mcp-valet demo\`.\n`)
  } else {
    process.stderr.write(`mcp-valet cannot start: ${advice(error)}\n`)
  }
  return 1
}

/** Words that were written for this, or what the system says; the message of an unforeseen fault may quote a secret. */
function advice (error: unknown): string {
  const { name, code, address, port, message } = error as NodeJS.ErrnoException & { address?: unknown, port?: number }
  // What is taken is the one thing here that says too little by itself; a socket's port is -1.
  if (code === 'EADDRINUSE' && typeof address === 'string' && lstatSync(address, { throwIfNoEntry: false })?.isSocket() === false) return `${address} is in use by something that is no socket: name another path, or take it away`
  if (code === 'EADDRINUSE') return `${String(address)}${port === undefined || port < 0 ? '' : `:${port}`} is in use: stop what listens there, or change listen and admin.listen`
  if (code === 'EADDRNOTAVAIL' || code === 'ENOENT') return `${message}: change listen or admin.listen`
  if (code === 'EACCES') return `${message}: choose a port above 1023 or a socket path that this user may write`
  const expected = error instanceof RangeError || name === 'StateError' || name === 'SecretRefError' || /^E[A-Z]+$/.test(String(code))
  return expected ? message : faultOf(error)
}
