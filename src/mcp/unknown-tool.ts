import { CLOSE_ARRAY, JsonReader, OPEN_ARRAY, OPEN_OBJECT } from './json-reader.js'
import type { Message } from './read-messages.js'

const INVALID_PARAMS = -32602
/** UTF-16 units of a name that are repeated to whoever made it up. */
const LONGEST = 512

/** What a server answers to a call of a tool that it does not have (MCP, tools, error handling); its id as it was written. */
export function unknownTool ({ id, tool }: Message): string {
  const message = tool === undefined ? 'Unknown tool' : `Unknown tool: ${tool.slice(0, LONGEST)}`
  return `{"jsonrpc":"2.0","id":${echoable(id)},"error":${JSON.stringify({ code: INVALID_PARAMS, message })}}`
}

/** A string or number, which is as long as its caller made it; JSON-RPC has no other ids. */
function echoable (id: string | undefined): string {
  return id !== undefined && /^["\d-]/.test(id) ? id : 'null'
}

/** Messages as events of a stream. */
export function asEvents (messages: readonly string[]): string {
  return messages.map((message) => `event: message\ndata: ${message}\n\n`).join('')
}

/** An answer in JSON to a batch, with further messages behind it; the same where it is no answer in JSON. */
export function withMessages (json: Buffer, messages: readonly string[]): Buffer {
  const ours = messages.join(',')
  const reader = new JsonReader(json, { lenient: true })
  const first = reader.next()
  if (Number.isNaN(first)) return Buffer.from(`[${ours}]`)
  if (first !== OPEN_ARRAY && first !== OPEN_OBJECT) return json
  const { from, to } = reader.skip()
  if (first === OPEN_OBJECT) return Buffer.concat([Buffer.from('['), json.subarray(from, to), Buffer.from(`,${ours}]`)])
  const isEmpty = new JsonReader(json, { from: from + 1 }).next() === CLOSE_ARRAY
  return Buffer.concat([json.subarray(from, to - 1), Buffer.from(`${isEmpty ? '' : ','}${ours}]`)])
}
