import { parseArgs } from 'node:util'
import { CLIENTS } from './clients.js'

export interface Options {
  /** Ids of clients. */
  readonly only: readonly string[]
  /** Clients at once. */
  readonly jobs: number
  readonly write: boolean
  /** Calls of each way, where overhead is to be measured and nothing else. */
  readonly overhead: number | undefined
}

export const HELP = `npm run interop -- [options]

The clients that people have (the files of examples/agents, each as a process of its own), through a mcp-valet process, to a
FastMCP server and to one on the TypeScript SDK. Each of those checks JWTs itself, and their tokens live for 4 s.

Each client lists tools, calls for at least 10 s in one session while tokens expire under it, follows the progress of a
call across an expiry, calls with a token that was taken back, and tries a tool that it may not use. Two principals call at
any time. Then each client comes with a wrong session key, which must not send it to a login. The Python packages of test/agents/requirements*.txt are installed once, into the user's cache.

Options:
  --only LIST   clients, separated by commas: ${CLIENTS.map(({ id }) => id).join(', ')}
  --jobs N      clients at once (default 4)
  --write       put the matrix into docs/compatibility.md, if all of it holds
  --overhead    instead: what calls of two tools cost through mcp-valet to the FastMCP server, beside the same calls sent direct
  --calls N     calls of each way, client and tool with --overhead (default 2000)
  --help        this

Exits with 1 if anything does not hold, and shows what the client wrote; with --overhead, if a bar is not met.
`

/** @returns undefined if help was asked for @throws {Error} fit to be printed where argv makes no sense */
export function readOptions (argv: string[]): Options | undefined {
  const { values } = parseArgs({
    args: argv,
    options: {
      only: { type: 'string' },
      jobs: { type: 'string', default: '4' },
      write: { type: 'boolean', default: false },
      overhead: { type: 'boolean', default: false },
      calls: { type: 'string', default: '2000' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const ids = CLIENTS.map(({ id }) => id)
  const only = values.only?.split(',').map((id) => id.trim()) ?? ids
  const unknown = only.find((id) => !ids.includes(id))
  if (unknown !== undefined) throw new Error(`--only knows ${ids.join(', ')}, not "${unknown}"`)
  if (!/^[1-9]\d?$/.test(values.jobs)) throw new Error(`--jobs wants a number from 1 to 99, not "${values.jobs}"`)
  if (values.write && only.length < ids.length) throw new Error('--write wants all clients: leave --only out')
  if (!/^[1-9]\d{0,5}$/.test(values.calls)) throw new Error(`--calls wants a positive number, not "${values.calls}"`)
  return { only, jobs: Number(values.jobs), write: values.write, overhead: values.overhead ? Number(values.calls) : undefined }
}
