import { Cuts, edited, type Edit } from './edit.js'
import { folded } from './fold.js'
import { JsonError, JsonReader, OPEN_ARRAY, OPEN_OBJECT } from './json-reader.js'

const PRIVATE = Buffer.from('"private"')
/** Tools of one list, each of which is kept in mind. */
const MOST_TOOLS = 100_000

/**
 * What a server sent, one message or an array of them, without the tools that may not be seen; all else byte for byte, and
 * the same Buffer where nothing is taken out.
 *
 * A list is known by its shape, `result.tools`, as a stream that is resumed brings answers to calls of another
 * connection. Of the tools in it stay those that have a name, a text that is allowed. Such a list is this caller's own,
 * so where it says how long it may be cached (2026-07-28) it says `cacheScope: "private"` as well.
 * @throws {JsonError} for what is no JSON although it, or a line of it, begins as an object or array, and might hold a list
 */
export function withoutHidden (text: Buffer, allows: (tool: string) => boolean): Buffer {
  const first = new JsonReader(text, { lenient: true }).next()
  try {
    if (first !== OPEN_OBJECT && first !== OPEN_ARRAY) {
      if (!isWide(first) && !hasLineOfJson(text)) return text
      throw new JsonError()
    }
    return edited(text, new Lists(text, allows).edits())
  } catch (error) {
    if (error instanceof JsonError && !mayHoldList(text)) return text
    throw error
  }
}

/** UTF-16 or UTF-32, which some clients recognise by its first bytes. */
function isWide (byte: number): boolean {
  return byte === 0 || byte === 0xfe || byte === 0xff
}

/** Some clients read the lines of an event one by one. */
function hasLineOfJson (text: Buffer): boolean {
  return /^[ \t]*[[{]/m.test(text.toString('latin1'))
}

/** What is no JSON can be read by no client that keeps to it, and is let through where nobody could read a list in it. */
function mayHoldList (text: Buffer): boolean {
  return /tools|\\u|\0/i.test(text.toString('latin1'))
}

class Lists {
  readonly #text: Buffer
  readonly #reader: JsonReader
  readonly #allows: (tool: string) => boolean
  readonly #edits: Edit[] = []

  constructor (text: Buffer, allows: (tool: string) => boolean) {
    this.#text = text
    this.#reader = new JsonReader(text, { lenient: true })
    this.#allows = allows
  }

  edits (): readonly Edit[] {
    if (this.#reader.next() === OPEN_ARRAY) this.#reader.array(() => this.#message())
    else this.#message()
    this.#reader.end()
    return this.#edits
  }

  #message (): void {
    this.#object((key) => {
      if (folded(key) === 'result') this.#result()
      else this.#reader.skip()
    })
  }

  #result (): void {
    const start = this.#reader.at + 1
    const scopes: Edit[] = []
    let isList = false
    let isCacheable = false
    this.#object((key) => {
      const name = folded(key)
      if (name === 'tools' && this.#reader.next() === OPEN_ARRAY) {
        isList = true
        this.#tools()
        return
      }
      const value = this.#reader.skip()
      if (name === 'cachescope') scopes.push({ ...value, by: PRIVATE })
      if (name === 'ttlms') isCacheable = true
    })
    if (!isList) return
    // Clients differ on whose a list is that may be cached and does not say: the schema once said everybody's.
    if (isCacheable && scopes.length === 0) scopes.push({ from: start, to: start, by: Buffer.from(`"cacheScope":${PRIVATE.toString()},`) })
    for (const scope of scopes) if (!this.#text.subarray(scope.from, scope.to).equals(PRIVATE)) this.#edits.push(scope)
  }

  #tools (): void {
    const cuts = new Cuts()
    let count = 0
    this.#reader.array(() => {
      if (++count > MOST_TOOLS) throw new JsonError()
      const from = this.#reader.at
      const stays = this.#tool()
      cuts.element({ from, to: this.#reader.at }, stays)
    })
    for (const cut of cuts.end()) this.#edits.push(cut)
  }

  /** @returns whether it may be seen, whichever of its names somebody goes by */
  #tool (): boolean {
    let named = false
    let allowed = true
    this.#object((key) => {
      if (folded(key) !== 'name') return void this.#reader.skip()
      named = true
      if (this.#reader.next() !== 0x22) {
        this.#reader.skip()
        allowed = false
      } else if (!this.#allows(this.#reader.text())) allowed = false
    })
    return named && allowed
  }

  #object (member: (key: string) => void): void {
    if (this.#reader.next() === OPEN_OBJECT) this.#reader.object(member)
    else this.#reader.skip()
  }
}
