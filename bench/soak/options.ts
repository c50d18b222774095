import { parseArgs } from 'node:util'
import { FAULTS, type Fault } from './faults.js'

export interface Options {
  minutes: number
  /** Agents that call one tool after another, beside those that listen, count and come and go. */
  agents: number
  /** Faults that are made and not declared, to show that the run fails then. */
  hide: Fault[]
  json: string | undefined
  /** Where the sidecar's log goes when it is over. */
  log: string | undefined
}

/** Below this many minutes memory and descriptors are shown and not judged: the collector has hardly begun. */
export const JUDGED_FROM = 10

export const HELP = `npm run soak -- [options]

Runs \`mcp-valet serve\` as a process of its own for a while: tokens that live for seconds, an issuer and an MCP server that fail at
random, agents that call, listen, count, resume, come and go. Each fault is written down when it is made, so each failure that
an agent sees is one that it had to see, or a failure of mcp-valet.

  --minutes N    how long (default 20); may be a fraction
  --agents N     agents that call one tool after another (default 24)
  --json FILE    writes the figures to a file, too
  --log FILE     keeps the sidecar's log, too: each failure is there under its request_id
  --hide LIST    does not declare faults of these kinds: shows that the run fails then
                 (${FAULTS.join(', ')})
  --help         this

Linux only, as memory and descriptors are read from /proc. Ctrl-C ends it early, with the report. Exit code: 0 within its bounds, 1 not, 2 for options that make no sense.

Bounds: no failure but those that were made; memory of the last third ≤1.05 × that of the middle one; descriptors flat, and back where
they began once everybody has gone; less than 1 % of calls fail for authentication, whatever was made to fail; the stream that
stays silent lives; no secret in the log. Memory and descriptors are judged from ${JUDGED_FROM} minutes on.
`

/** @returns undefined if help was asked for. @throws an Error fit to be printed where argv makes no sense */
export function readOptions (argv: string[]): Options | undefined {
  const { values } = parseArgs({
    args: argv,
    options: {
      minutes: { type: 'string', default: '20' },
      agents: { type: 'string', default: '24' },
      json: { type: 'string' },
      log: { type: 'string' },
      hide: { type: 'string', default: '' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) return undefined
  const minutes = Number(values.minutes)
  if (!(minutes > 0 && minutes <= 10_080)) throw new Error(`--minutes wants a number above 0, a week's at most, not "${values.minutes}"`)
  if (!/^[1-9]\d{0,3}$/.test(values.agents)) throw new Error(`--agents wants a positive number, not "${values.agents}"`)
  return { minutes, agents: Number(values.agents), json: values.json, log: values.log, hide: kinds(values.hide) }
}

function kinds (list: string): Fault[] {
  const names = list.split(',').map((name) => name.trim()).filter((name) => name !== '')
  const unknown = names.find((name) => !FAULTS.includes(name as Fault))
  if (unknown !== undefined) throw new Error(`--hide knows ${FAULTS.join(', ')}, not "${unknown}"`)
  return names as Fault[]
}
