import { isUtf8 } from 'node:buffer'
import { folded } from './fold.js'
import { JsonError, JsonReader, OPEN_ARRAY, OPEN_OBJECT, type Span } from './json-reader.js'

/** One JSON-RPC message of a body, as far as a tool policy has to know it; where it lies there. */
export interface Message extends Span {
  readonly method: string | undefined
  /** The id as it is written; undefined where there is none, as in a notification. */
  readonly id: string | undefined
  /** It answers a request of the server's. */
  readonly answers: boolean
  /** It calls a tool, perhaps by a spelling of the method that only some servers understand. */
  readonly calls: boolean
  /** The tool's name; undefined where none can be told. */
  readonly tool: string | undefined
}

export interface Body {
  /** Several messages in an array, as MCP 2025-03-26 has them. */
  readonly batch: boolean
  readonly messages: readonly Message[]
}

/** Far above what servers take (the official SDK: 100), and few enough to be answered one by one. */
const MOST_MESSAGES = 1_000
/** Members at a level that is read, where each is kept for comparison. */
const MOST_MEMBERS = 1_000
const ENVELOPE = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
const CALL = new Set(['name'])

/**
 * Reads a body in the one way in which every server reads it, or not at all: UTF-8 without a byte order mark, strict JSON,
 * one message or an array of them, and where it matters no member twice, nor spelled so that some servers would take it
 * for another.
 * @throws {JsonError} for any other body
 */
export function readMessages (body: Buffer): Body {
  if (!isUtf8(body)) throw new JsonError()
  const reader = new JsonReader(body)
  const messages: Message[] = []
  const batch = reader.next() === OPEN_ARRAY
  if (batch) {
    reader.array(() => {
      if (messages.push(readMessage(reader, body)) > MOST_MESSAGES) throw new JsonError()
    })
  } else {
    messages.push(readMessage(reader, body))
  }
  reader.end()
  return { batch, messages }
}

function readMessage (reader: JsonReader, body: Buffer): Message {
  const from = reader.at
  const members = readMembers(reader, ENVELOPE)
  const to = reader.at
  const method = stringAt(members.get('method'), body)
  const id = members.get('id')
  const calls = method !== undefined && folded(method) === 'tools/call'
  return {
    from,
    to,
    method,
    id: id === undefined ? undefined : body.toString('utf8', id.from, id.to),
    answers: method === undefined && (members.has('result') || members.has('error')),
    calls,
    tool: calls ? toolOf(members.get('params'), body) : undefined,
  }
}

function toolOf (params: Span | undefined, body: Buffer): string | undefined {
  if (params === undefined || body[params.from] !== OPEN_OBJECT) return undefined
  return stringAt(readMembers(new JsonReader(body, { from: params.from }), CALL).get('name'), body)
}

/** The members of an object that have one of the known names; each of these at most once, and spelled as it should be. */
function readMembers (reader: JsonReader, known: ReadonlySet<string>): Map<string, Span> {
  const members = new Map<string, Span>()
  let count = 0
  reader.object((key) => {
    const name = folded(key)
    // Assigned to an object, as some servers do, it would be where members that are missing are looked up.
    if (++count > MOST_MEMBERS || name === '__proto__') throw new JsonError()
    const value = reader.skip()
    if (!known.has(name)) return
    if (key !== name || members.has(name)) throw new JsonError()
    members.set(name, value)
  })
  return members
}

function stringAt (value: Span | undefined, body: Buffer): string | undefined {
  if (value === undefined || body[value.from] !== 0x22) return undefined
  return new JsonReader(body, { from: value.from }).text()
}
