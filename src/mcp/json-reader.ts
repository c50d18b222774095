/** Containers in one another. Python and Go give up at about a thousand and ten thousand; nothing that is meant has so many. */
const DEEPEST = 512
/** Bytes of a string within which its end is looked for one by one. */
const NEAR = 48

const [QUOTE, BACKSLASH, COLON, COMMA] = [0x22, 0x5c, 0x3a, 0x2c]
const [MINUS, PLUS, DOT, ZERO, NINE, LOWER_E] = [0x2d, 0x2b, 0x2e, 0x30, 0x39, 0x65]
export const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

const [UPPER_I, LOWER_U] = [0x49, 0x75]
const ESCAPED: ReadonlySet<number> = new Set(Buffer.from('"\\/bfnrt'))
const BYTE_ORDER_MARK = Buffer.from('\ufeff')
const WORDS = ['true', 'false', 'null'].map((word) => Buffer.from(word))
/** What Python writes where JSON has no word for a number, and what Python reads. */
const LENIENT_WORDS = [...WORDS, ...['NaN', 'Infinity', '-Infinity'].map((word) => Buffer.from(word))]
/** Text that stands for itself between its quotes. */
const PLAIN = /^[\x20-\x5b\x5d-\x7e]*$/

/** A text that is no JSON, or nests deeper than anything that is meant. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
}

export interface Span { readonly from: number, readonly to: number }

/**
 * Walks through a JSON text (RFC 8259) where it lies, value by value, and builds nothing: what is not asked for is passed
 * over, in time that grows with its length alone, whatever its shape.
 *
 * JSON.parse would not do: of two members of one name it forgets the first, which another reader may go by; it loses the
 * place of each value and the digits of large numbers; and it takes seconds for megabytes of brackets.
 */
export class JsonReader {
  /** Where the next value or mark begins. */
  at: number
  readonly #bytes: Buffer
  readonly #lenient: boolean
  /** What each container that is open while a value is passed over is ended by. */
  readonly #ends: number[] = []

  /**
   * @param options `lenient`: what clients still read although it is no JSON is passed over as well: `NaN`, a control
   *   character within a string, a byte order mark before it all. `from`: where to begin
   */
  constructor (bytes: Buffer, { lenient = false, from = 0 }: { lenient?: boolean, from?: number } = {}) {
    this.#bytes = bytes
    this.#lenient = lenient
    this.at = lenient && from === 0 && bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : from
  }

  /** The next byte that is no white space, which stays where it is; NaN at the end. */
  next (): number {
    const bytes = this.#bytes
    for (; this.at < bytes.length; this.at++) {
      const byte = bytes[this.at] as number
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
    }
    return Number.NaN
  }

  /** Reads an object. @param member is called at each value, which it must read or skip */
  object (member: (key: string) => void): void {
    this.#take(OPEN_OBJECT)
    if (this.#took(CLOSE_OBJECT)) return
    do {
      const key = this.text()
      this.#take(COLON)
      this.next()
      member(key)
    } while (this.#took(COMMA))
    this.#take(CLOSE_OBJECT)
  }

  /** Reads an array. @param element is called at each value, which it must read or skip */
  array (element: () => void): void {
    this.#take(OPEN_ARRAY)
    if (this.#took(CLOSE_ARRAY)) return
    do {
      this.next()
      element()
    } while (this.#took(COMMA))
    this.#take(CLOSE_ARRAY)
  }

  /** Reads a string, without its escapes. */
  text (): string {
    if (this.next() !== QUOTE) throw new JsonError()
    const { from, to } = this.#string()
    const inner = this.#bytes.toString('latin1', from + 1, to - 1)
    return PLAIN.test(inner) ? inner : this.#unescaped(from, to)
  }

  /** Passes over a value of any kind. @returns where it lies */
  skip (): Span {
    this.next()
    const from = this.at
    const ends = this.#ends
    do {
      this.#step(ends)
      // What was a whole value may be the last one of its container, and that of its own.
      while (ends.length > 0 && !this.#took(COMMA)) this.#take(ends.pop() as number)
      if (ends.at(-1) === CLOSE_OBJECT) this.#key()
    } while (ends.length > 0)
    return { from, to: this.at }
  }

  /** The text must end here. */
  end (): void {
    if (!Number.isNaN(this.next())) throw new JsonError()
  }

  /** Passes over a scalar or an empty container, or goes down to the first value of another. */
  #step (ends: number[]): void {
    for (;;) {
      const byte = this.next()
      if (byte !== OPEN_OBJECT && byte !== OPEN_ARRAY) return this.#scalar(byte)
      this.at++
      const end = byte === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY
      if (this.#took(end)) return
      if (ends.push(end) > DEEPEST) throw new JsonError()
      if (end === CLOSE_OBJECT) this.#key()
    }
  }

  #key (): void {
    if (this.next() !== QUOTE) throw new JsonError()
    this.#string()
    this.#take(COLON)
  }

  #scalar (byte: number): void {
    if (byte === QUOTE) this.#string()
    else if ((byte >= ZERO && byte <= NINE) || (byte === MINUS && this.#bytes[this.at + 1] !== UPPER_I)) this.#number()
    else this.#word()
  }

  #string (): Span {
    const bytes = this.#bytes
    const from = this.at
    const near = this.#lenient ? Math.min(from + NEAR, bytes.length) : bytes.length
    for (let at = from + 1; at < near; at++) {
      const byte = bytes[at] as number
      if (byte === QUOTE) {
        this.at = at + 1
        return { from, to: at + 1 }
      }
      if (byte === BACKSLASH) at += this.#escape(at + 1)
      else if (byte < 0x20 && !this.#lenient) throw new JsonError()
    }
    this.at = this.#farQuote(from) + 1
    return { from, to: this.at }
  }

  /** Where a long string ends, found by the machine's own search: the first quote behind an even number of backslashes. */
  #farQuote (from: number): number {
    const bytes = this.#bytes
    for (let quote = bytes.indexOf(QUOTE, from + 1); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
      let slash = quote
      while (bytes[slash - 1] === BACKSLASH) slash--
      if ((quote - slash) % 2 === 0) return quote
    }
    throw new JsonError()
  }

  /** @returns how many bytes follow the backslash */
  #escape (at: number): number {
    const byte = this.#bytes[at] as number
    if (this.#lenient || ESCAPED.has(byte)) return 1
    if (byte !== LOWER_U) throw new JsonError()
    for (let digit = at + 1; digit <= at + 4; digit++) if (!isHex(this.#bytes[digit])) throw new JsonError()
    return 5
  }

  #unescaped (from: number, to: number): string {
    try {
      return JSON.parse(this.#bytes.toString('utf8', from, to)) as string
    } catch {
      throw new JsonError()
    }
  }

  #number (): void {
    const bytes = this.#bytes
    if (bytes[this.at] === MINUS) this.at++
    if (bytes[this.at] === ZERO) this.at++
    else this.#digits()
    if (bytes[this.at] === DOT) {
      this.at++
      this.#digits()
    }
    if (lower(bytes[this.at]) !== LOWER_E) return
    this.at++
    if (bytes[this.at] === PLUS || bytes[this.at] === MINUS) this.at++
    this.#digits()
  }

  #digits (): void {
    const bytes = this.#bytes
    const from = this.at
    while (this.at < bytes.length && (bytes[this.at] as number) >= ZERO && (bytes[this.at] as number) <= NINE) this.at++
    if (this.at === from) throw new JsonError()
  }

  #word (): void {
    for (const word of this.#lenient ? LENIENT_WORDS : WORDS) {
      if (!startsWith(this.#bytes, this.at, word)) continue
      this.at += word.length
      return
    }
    throw new JsonError()
  }

  #took (mark: number): boolean {
    if (this.next() !== mark) return false
    this.at++
    return true
  }

  #take (mark: number): void {
    if (!this.#took(mark)) throw new JsonError()
  }
}

function startsWith (bytes: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return false
  return true
}

function lower (byte: number | undefined): number {
  return (byte ?? 0) | 0x20
}

function isHex (byte: number | undefined): boolean {
  return (lower(byte) >= 0x61 && lower(byte) <= 0x66) || (byte !== undefined && byte >= ZERO && byte <= NINE)
}
