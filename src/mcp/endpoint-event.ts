/** Bytes: an endpoint is a URL, so an event that is longer is another one. */
const LONGEST = 16 * 1024
/** A byte order mark, and one that was encoded twice: a client's decoder passes over the first, and its parser over either. */
const MARKS = [Buffer.from('\ufeff'), Buffer.from('\u00ef\u00bb\u00bf')]
/** More of them are text to any client. */
const MOST_MARKS = 4
const NOTHING = Buffer.alloc(0)
/** The line that makes an endpoint of an event, with what ends the lines before and behind it; and its length at most. */
const NAMED = /[\r\n]event: ?endpoint[\r\n]/
const NAME = 'endpoint'
const NAMED_LENGTH = '\nevent: endpoint\n'.length
const LINE_START = Buffer.from('\n')
const [LF, CR] = [0x0a, 0x0d]

/** A stream names where to POST to in a place where that cannot be rewritten any more. */
export class LateEndpoint extends Error {
  override readonly name = 'LateEndpoint'
}

/**
 * The beginning of an event stream, as far as its first event with data: by that a server of MCP 2024-11-05 (HTTP+SSE) says
 * where the client shall POST to. Comments and ids before it leave at once, so that a silent stream is kept alive by them;
 * what is behind it passes as it comes, unless it names another place.
 */
export class EndpointEvent {
  readonly #rewrite: (endpoint: string) => string
  #held: Buffer = NOTHING
  #begun = false
  #done = false
  /** A line end that has been replaced was a CR at the end of what had come, and an LF behind it is its second half. */
  #half = false
  /** The last of what has passed behind that event, as far as the line of a further one may have begun in it. */
  #passed = LINE_START

  /** @param rewrite from the URL that the server names to the one that the agent shall use; what it throws is thrown here */
  constructor (rewrite: (endpoint: string) => string) {
    this.#rewrite = rewrite
  }

  /** @returns what may leave now @throws {LateEndpoint} and what `rewrite` throws */
  write (chunk: Buffer): Buffer {
    if (this.#done) return this.#unnamed(this.#withoutHalf(chunk))
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    const marks = this.#begun ? 0 : marksBefore(bytes)
    if (marks === undefined) {
      this.#held = Buffer.from(bytes)
      return NOTHING
    }
    this.#begun = true
    let sent = marks
    for (let event = eventAt(bytes, sent); event !== undefined; event = eventAt(bytes, sent)) {
      const fields = fieldsOf(bytes.toString('utf8', sent, event.end))
      if (fields.data !== undefined) {
        this.#done = true
        this.#held = NOTHING
        this.#unnamed(bytes.subarray(event.end))
        if (fields.event !== 'endpoint') return bytes
        this.#half = event.end === bytes.length && bytes[event.end - 1] === CR
        const data = this.#rewrite(fields.data)
        return Buffer.concat([bytes.subarray(0, sent), Buffer.from([...fields.others, `data: ${data}`, '', ''].join('\n')), bytes.subarray(event.end)])
      }
      sent = event.end
    }
    // The line of a comment is whole although the event that it stands in is not.
    while (bytes[sent] === 0x3a) {
      const end = lineEnd(bytes, sent)
      if (end === undefined) break
      sent = end
    }
    this.#held = Buffer.from(bytes.subarray(sent))
    if (this.#held.length <= LONGEST) return bytes.subarray(0, sent)
    this.#done = true
    this.#unnamed(this.#held)
    return this.end(bytes.subarray(0, sent))
  }

  #withoutHalf (chunk: Buffer): Buffer {
    if (!this.#half || chunk.length === 0) return chunk
    this.#half = false
    return chunk[0] === LF ? chunk.subarray(1) : chunk
  }

  /** An event begins to count with the blank line behind it, so what has left of its name until then does no harm. */
  #unnamed (chunk: Buffer): Buffer {
    const bytes = Buffer.concat([this.#passed, chunk])
    if (bytes.includes(NAME) && NAMED.test(bytes.toString('latin1'))) throw new LateEndpoint()
    this.#passed = Buffer.from(bytes.subarray(1 - NAMED_LENGTH))
    return chunk
  }

  /** The stream has ended: what was held goes as it came, since without its blank line it is no event. */
  end (before: Buffer = NOTHING): Buffer {
    const held = this.#held
    this.#held = NOTHING
    return before.length === 0 ? held : Buffer.concat([before, held])
  }
}

/** How many bytes at the beginning of a stream clients may pass over; undefined where more must come to tell. */
function marksBefore (bytes: Buffer): number | undefined {
  let at = 0
  for (let count = 0; count < MOST_MARKS; count++) {
    const rest = bytes.subarray(at)
    const mark = MARKS.find((known) => known.equals(rest.subarray(0, known.length)))
    if (mark === undefined) return MARKS.some((known) => rest.equals(known.subarray(0, rest.length))) ? undefined : at
    at += mark.length
  }
  return at
}

/** Where the event ends that begins here, its blank line included; undefined where that has not come yet. */
function eventAt (bytes: Buffer, from: number): { readonly end: number } | undefined {
  for (let at = from; at < bytes.length;) {
    const end = lineEnd(bytes, at)
    if (end === undefined) return undefined
    if (bytes[at] === LF || bytes[at] === CR) return { end }
    at = end
  }
  return undefined
}

/**
 * Behind the end of the line that begins here: LF, CR LF or CR. A CR ends it at once, as nothing else may come for hours;
 * an LF that does come behind it ends a line without anything in it, and an event without data, which is none.
 */
function lineEnd (bytes: Buffer, from: number): number | undefined {
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] === LF) return at + 1
    if (bytes[at] === CR) return bytes[at + 1] === LF ? at + 2 : at + 1
  }
  return undefined
}

interface Fields { event?: string, data?: string, readonly others: string[] }

/** WHATWG HTML, §9.2.6: the last `event`, and all `data`; and every line but those of its data. */
function fieldsOf (event: string): Fields {
  const fields: Fields = { others: [] }
  for (const line of event.split(/\r\n|\r|\n/)) {
    const [, name, value = ''] = /^(event|data)(?:: ?(.*))?$/s.exec(line) ?? []
    if (name === 'data') fields.data = fields.data === undefined ? value : `${fields.data}\n${value}`
    else if (line !== '') fields.others.push(line)
    if (name === 'event') fields.event = value
  }
  return fields
}
