import { AdminClient } from './admin-client.js'
import { AdminFailure } from './admin-failure.js'
import { findTarget, type TargetOptions } from './admin-target.js'
import type { Terminal } from './terminal.js'

export type { TargetOptions } from './admin-target.js'

/** What the verbs that speak to a running sidecar end with; cli.ts says it in their help. */
export type AdminExit = 0 | 1 | 2 | 3

/**
 * Runs a verb against the sidecar that the options name; what goes wrong is told on standard error.
 * @returns the exit code
 */
export async function withSidecar (options: TargetOptions, terminal: Terminal, run: (client: AdminClient) => Promise<AdminExit>): Promise<AdminExit> {
  try {
    const target = await findTarget(options)
    if (target.isPlain && target.token !== undefined) terminal.err(`${terminal.palette.warm('warning')}: the admin token crosses the network unencrypted to ${target.name}\n`)
    return await run(new AdminClient(target))
  } catch (error) {
    if (!(error instanceof AdminFailure)) throw error
    terminal.err(`${terminal.palette.bad('error')}: ${error.message}\n`)
    return error.exitCode
  }
}
