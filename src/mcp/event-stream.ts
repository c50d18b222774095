import { edited, type Edit } from './edit.js'

const [LF, CR, COLON, SPACE] = [0x0a, 0x0d, 0x3a, 0x20]
const DATA = Buffer.from('data')
const BYTE_ORDER_MARK = Buffer.from('\ufeff')
const NOTHING = Buffer.alloc(0)
/** Bytes of a line within which its end is looked for one by one. */
const NEAR = 64
/** Of one event: a list that is printed in lines has some ten thousand. */
const MOST_LINES = 100_000

/** An event, or another answer that must be read whole, is longer than is kept. */
export class TooLong extends Error {
  override readonly name = 'TooLong'
}

/**
 * A stream of server-sent events (WHATWG HTML, §9.2) whose data may be rewritten. All else leaves as the bytes that came:
 * ids, `retry:`, comments, fields and line ends of whatever kind; and as soon as its line has come, for only data must
 * wait for the end of its event.
 */
export class EventStream {
  readonly #rewrite: (data: Buffer) => Buffer
  readonly #limit: number
  readonly #preceded: boolean
  #buffer = NOTHING
  /** What has come and not left: the beginning of `#buffer`. Within it, where to read on, and where the line began. */
  #length = 0
  #at = 0
  #line = 0
  /** Where the first data line of the event began, if one has come. */
  #held: number | undefined
  #begun = false
  #afterCr = false

  /**
   * @param rewrite from the data of an event to what shall stand in its place; the same Buffer where that is nothing else
   * @param limit bytes of an event, and of a line, that are kept until it has come to its end
   * @param preceded other events have left already, and a byte order mark behind these would be none
   */
  constructor (rewrite: (data: Buffer) => Buffer, limit: number, preceded = false) {
    this.#rewrite = rewrite
    this.#limit = limit
    this.#preceded = preceded
  }

  /** Bytes that have come and may not leave yet. */
  get waiting (): number {
    return this.#length
  }

  /**
   * @returns what may leave now, which is nothing for some and all of it for most
   * @throws {TooLong} where an event exceeds the limit; and whatever `rewrite` throws
   */
  write (chunk: Buffer): Buffer {
    const bytes = this.#append(chunk)
    let sent = this.#begun ? 0 : this.#begin(bytes)
    if (sent === undefined) return NOTHING
    const out: Buffer[] = []
    const breaks = new Breaks(bytes)
    for (let end = breaks.next(this.#at); end < bytes.length; end = breaks.next(end + 1)) {
      const line = this.#line
      this.#line = end + 1
      // The second half of a line end whose first half was one already.
      const isHalf = bytes[end] === LF && line === end && this.#afterCr
      this.#afterCr = bytes[end] === CR
      if (isHalf) continue
      if (line < end) {
        if (this.#held === undefined && isData(bytes, line, end)) this.#held = line
      } else if (this.#held !== undefined) {
        const event = bytes.subarray(this.#held, end + 1)
        const changed = rewritten(event, this.#rewrite)
        if (changed !== event) {
          out.push(bytes.subarray(sent, this.#held), changed)
          sent = end + 1
        }
        this.#held = undefined
      }
    }
    const safe = this.#held ?? this.#line
    out.push(bytes.subarray(sent, safe))
    this.#keep(bytes, safe)
    return out.length === 1 ? out[0] as Buffer : Buffer.concat(out)
  }

  /**
   * The stream has ended. An event without the blank line that ends it is dropped by clients that keep to the
   * specification; for the others it is rewritten too, or left out where it cannot be.
   */
  end (): Buffer {
    const rest = this.#buffer.subarray(0, this.#length)
    this.#length = 0
    if (this.#held === undefined && !isData(rest, this.#line, rest.length)) return rest
    try {
      return rewritten(rest, this.#rewrite)
    } catch {
      return NOTHING
    }
  }

  /** What waits, with this behind it, in one piece; without copying where nothing waits. */
  #append (chunk: Buffer): Buffer {
    if (this.#length === 0) return chunk
    const length = this.#length + chunk.length
    if (length > this.#buffer.length) {
      // Twice as much, so that an event that comes in a thousand pieces is not copied a thousand times.
      const larger = Buffer.allocUnsafe(2 * length)
      this.#buffer.copy(larger, 0, 0, this.#length)
      this.#buffer = larger
    }
    chunk.copy(this.#buffer, this.#length)
    return this.#buffer.subarray(0, length)
  }

  /** Lets what is before `safe` go, and keeps what is behind it until more has come. */
  #keep (bytes: Buffer, safe: number): void {
    const waiting = bytes.length - safe
    if (waiting > this.#limit) throw new TooLong()
    // Never written to again where a part of it has gone out, as that may still wait for its reader.
    if (safe > 0 || this.#length === 0) this.#buffer = Buffer.from(bytes.subarray(safe))
    this.#length = this.#at = waiting
    this.#line -= safe
    if (this.#held !== undefined) this.#held = 0
  }

  /** Passes over a byte order mark. @returns where what may leave begins; undefined where more must come to tell */
  #begin (bytes: Buffer): number | undefined {
    const isMark = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK)
    if (!isMark && bytes.equals(BYTE_ORDER_MARK.subarray(0, bytes.length))) {
      this.#keep(bytes, 0)
      this.#at = 0
      return undefined
    }
    this.#begun = true
    if (isMark) this.#at = this.#line = BYTE_ORDER_MARK.length
    return isMark && this.#preceded ? BYTE_ORDER_MARK.length : 0
  }
}

/** Finds the ends of lines: near ones by looking at each byte, and far ones by the machine's own search. */
class Breaks {
  readonly #bytes: Buffer
  #lf = -1
  #cr = -1

  constructor (bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The first LF or CR at or behind a place, each behind the one before; the length where there is none. */
  next (from: number): number {
    const bytes = this.#bytes
    const near = Math.min(from + NEAR, bytes.length)
    for (let at = from; at < near; at++) if (bytes[at] === LF || bytes[at] === CR) return at
    if (this.#lf < near) this.#lf = found(bytes, LF, near)
    if (this.#cr < near) this.#cr = found(bytes, CR, near)
    return Math.min(this.#lf, this.#cr)
  }
}

function found (bytes: Buffer, byte: number, from: number): number {
  const at = bytes.indexOf(byte, from)
  return at < 0 ? bytes.length : at
}

function isData (bytes: Buffer, line: number, end: number): boolean {
  for (let i = 0; i < DATA.length; i++) if (bytes[line + i] !== DATA[i]) return false
  return line + DATA.length === end || (line + DATA.length < end && bytes[line + DATA.length] === COLON)
}

/** Where the value of a data line begins: behind the colon, and one space that is no part of it. */
function valueOf (bytes: Buffer, line: number, end: number): number {
  const value = Math.min(line + DATA.length + 1, end)
  return value < end && bytes[value] === SPACE ? value + 1 : value
}

/** @param line is told where each line begins and ends, and where the next one begins */
function eachLine (event: Buffer, line: (from: number, end: number, next: number) => void): void {
  const breaks = new Breaks(event)
  let count = 0
  for (let from = 0, next = 0; from < event.length; from = next) {
    const end = breaks.next(from)
    const mark = event[end] === CR && event[end + 1] === LF ? 2 : 1
    if (++count > MOST_LINES) throw new TooLong()
    next = Math.min(end + mark, event.length)
    line(from, end, next)
  }
}

function rewritten (event: Buffer, rewrite: (data: Buffer) => Buffer): Buffer {
  const data = dataOf(event)
  const changed = rewrite(data)
  return changed === data ? event : edited(event, replaced(event, changed))
}

/** The values of all data lines, of which there is one at least, one below the other. */
function dataOf (event: Buffer): Buffer {
  let first: Buffer | undefined
  let joined: Buffer | undefined
  let length = 0
  eachLine(event, (from, end) => {
    if (!isData(event, from, end)) return
    const value = event.subarray(valueOf(event, from, end), end)
    if (first === undefined) {
      first = value
      return
    }
    if (joined === undefined) {
      joined = Buffer.allocUnsafe(event.length)
      length = first.copy(joined)
    }
    joined[length++] = LF
    length += value.copy(joined, length)
  })
  return (joined?.subarray(0, length) ?? first) as Buffer
}

/**
 * Other data in place of the first data line, and none in that of the others. The line end that stays is always that of
 * the line which goes, or a CR might come to stand before an LF that was a line end of its own.
 */
function replaced (event: Buffer, data: Buffer): Edit[] {
  const edits: Edit[] = []
  let before = 0
  eachLine(event, (from, end, next) => {
    if (isData(event, from, end)) {
      const last = edits.at(-1)
      if (last === undefined) edits.push({ from, to: end, by: asLines(data, event.subarray(from, valueOf(event, from, end)), event.subarray(end, next)) })
      else if (last.to === before) edits[edits.length - 1] = { ...last, to: end }
      else edits.push({ from: before, to: end })
    }
    before = end
  })
  return edits
}

function asLines (data: Buffer, prefix: Buffer, end: Buffer): Buffer {
  const field = prefix.includes(COLON) ? prefix.toString('latin1') : 'data: '
  return Buffer.from(field + data.toString('latin1').replaceAll('\n', `${end.toString('latin1')}data: `), 'latin1')
}
