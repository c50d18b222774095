import { withSidecar, type AdminExit, type TargetOptions } from './admin-verb.js'
import { RENEWED } from './expected.js'
import { printable, printableJson } from './printable.js'
import type { Terminal } from './terminal.js'
import { relative } from './when.js'

/** Milliseconds: a token endpoint may take 10 s, and another renewal may be under way. */
const PATIENCE = 60_000

export interface RefreshOptions extends TargetOptions {
  readonly json?: boolean | undefined
}

/** `mcp-valet refresh`: renews one credential now. */
export async function refresh (principal: string, upstream: string, options: RefreshOptions, terminal: Terminal): Promise<AdminExit> {
  return await withSidecar(options, terminal, async (client) => {
    const credential = await client.ask('POST', `/credentials/${encodeURIComponent(principal)}/${encodeURIComponent(upstream)}/refresh`, RENEWED, { patience: PATIENCE })
    if (options.json === true) {
      terminal.out(printableJson(credential, terminal.isTerminal ? 2 : undefined) + '\n')
      return 0
    }
    const expires = relative(credential.expires_at, Date.now())
    terminal.out(`${printable(principal)} at ${printable(upstream)}: ${printable(credential.state)}, token ${printable(credential.token)}${expires === '' ? '' : `, expires ${expires}`}\n`)
    return 0
  })
}
