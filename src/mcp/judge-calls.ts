import { Cuts, edited } from './edit.js'
import type { Body, Message } from './read-messages.js'

export interface Judged {
  /** What goes on: the body as it came, or, of a batch, the rest; undefined where nothing is left. */
  readonly body: Buffer | undefined
  /** The calls that do not. */
  readonly denied: readonly Message[]
}

/** Takes out of a body the calls of tools that are not allowed, and of those that have no name to judge by. */
export function judgeCalls (bytes: Buffer, { messages }: Body, allows: (tool: string) => boolean): Judged {
  const denied = new Set(messages.filter(({ calls, tool }) => calls && (tool === undefined || !allows(tool))))
  if (denied.size === 0) return { body: bytes, denied: [] }
  if (denied.size === messages.length) return { body: undefined, denied: [...denied] }
  const cuts = new Cuts()
  for (const message of messages) cuts.element(message, !denied.has(message))
  return { body: edited(bytes, cuts.end()), denied: [...denied] }
}
