import type { Span } from './json-reader.js'

/** A part of a text, and what stands in its place; nothing, unless it is given. */
export interface Edit extends Span { readonly by?: Buffer }

/** A text with parts of it replaced and the rest byte for byte; the same Buffer where there is nothing to replace. */
export function edited (bytes: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return bytes
  const pieces: Buffer[] = []
  let at = 0
  for (const { from, to, by } of [...edits].sort((a, b) => a.from - b.from)) {
    pieces.push(bytes.subarray(at, from))
    if (by !== undefined) pieces.push(by)
    at = to
  }
  pieces.push(bytes.subarray(at))
  return Buffer.concat(pieces)
}

/** Takes elements out of a JSON array, each run of them with one of the commas beside it. */
export class Cuts {
  readonly #edits: Edit[] = []
  /** Where the last element that stays ends. */
  #kept: number | undefined
  /** Elements since then that do not. */
  #gap: Span | undefined

  /** The next element of the array, where it lies. */
  element ({ from, to }: Span, stays: boolean): void {
    if (!stays) {
      this.#gap = { from: this.#gap?.from ?? this.#kept ?? from, to }
      return
    }
    // Behind one that stays, a run goes with the comma before it; at the beginning, with the one behind it.
    if (this.#gap !== undefined) this.#edits.push(this.#kept === undefined ? { from: this.#gap.from, to: from } : this.#gap)
    this.#gap = undefined
    this.#kept = to
  }

  end (): readonly Edit[] {
    if (this.#gap !== undefined) this.#edits.push(this.#gap)
    return this.#edits
  }
}
