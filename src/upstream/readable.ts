export type Headers = Record<string, string | string[] | undefined>

const EVENT_STREAM = /^text\/event-stream\s*(?:;|$)/i
/** Character sets that are ASCII where JSON and events have their marks. */
const READABLE_CHARSET = /^(?:utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d)$/i
/** What these say of a body does not hold for another one (RFC 9110 §8.6, RFC 9530). */
const OF_THE_BYTES = new Set(['content-length', 'content-md5', 'digest', 'content-digest', 'repr-digest'])
const WHITE_SPACE = new Set([0x20, 0x09, 0x0a, 0x0d])
/** An object, an array, or a byte order mark, behind which either may come. */
const BEGINNINGS = new Set([0x7b, 0x5b, 0xef])

export function isEventStream (headers: Headers): boolean {
  return EVENT_STREAM.test(typeOf(headers))
}

/** Also where only a client that does not look closely would read events in it. */
export function saysEventStream (headers: Headers): boolean {
  return /event-stream/i.test(typeOf(headers))
}

export function isCompressed (headers: Headers): boolean {
  return !/^(?:identity)?$/i.test(String(headers['content-encoding'] ?? 'identity').trim())
}

/** Also where a type says so in a way of its own: what a client takes for JSON is read as JSON here. */
export function isJson (headers: Headers): boolean {
  return /json/i.test(typeOf(headers))
}

/** Why an answer cannot be read as its client will read it; undefined where it can. */
export function unreadable (status: number, headers: Headers): string | undefined {
  if (isCompressed(headers)) return 'an answer that a tool policy must read is compressed, although that was not asked for'
  if (status === 206 || headers['content-range'] !== undefined) return 'an answer that a tool policy must read is a part of one, although that was not asked for'
  const type = typeOf(headers)
  if (/event-stream/i.test(type) && !EVENT_STREAM.test(type)) return 'an answer that a tool policy must read has no clear content type'
  const charset = /charset\s*=\s*"?([^";,\s]*)/i.exec(type)?.[1]
  if (charset !== undefined && !READABLE_CHARSET.test(charset) && (isEventStream(headers) || isJson(headers))) return 'an answer that a tool policy must read is in another character set than UTF-8'
  return undefined
}

/** Whether a body that begins so may be JSON; undefined where it has not begun yet. */
export function beginsAsJson (chunk: Buffer): boolean | undefined {
  for (const byte of chunk) if (!WHITE_SPACE.has(byte)) return BEGINNINGS.has(byte)
  return undefined
}

export function unframed (headers: Headers): Headers {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_THE_BYTES.has(name)))
}

function typeOf (headers: Headers): string {
  return String(headers['content-type'] ?? '').trim()
}
