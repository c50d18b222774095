/** Bytes from which on a piece is kept as it came. */
const LARGE = 1024
/** Bytes of the blocks into which smaller ones are copied. */
const BLOCK = 4 * 1024

/**
 * Bytes that come in pieces of whatever size and are kept until all are there. A Buffer takes some hundred bytes beside
 * those in it, so a peer that sends one byte a piece would have far more kept for it than any limit on its bytes says.
 */
export class ByteCollector {
  /** Bytes that have come. */
  length = 0
  readonly #pieces: Buffer[] = []
  #block: Buffer | undefined
  /** What of the block is in use, and from where on that is not among the pieces yet. */
  #used = 0
  #from = 0

  add (piece: Buffer): void {
    if (piece.length === 0) return
    this.length += piece.length
    // The first one is nearly always all, or nearly all.
    if (piece.length >= LARGE || this.length === piece.length) {
      this.#seal()
      this.#pieces.push(piece)
      return
    }
    if (this.#block === undefined || this.#used + piece.length > BLOCK) {
      this.#seal()
      this.#block = Buffer.allocUnsafe(BLOCK)
      this.#used = this.#from = 0
    }
    this.#used += piece.copy(this.#block, this.#used)
  }

  /** All that has come, in order, as few Buffers. */
  pieces (): readonly Buffer[] {
    this.#seal()
    return this.#pieces
  }

  /** All that has come, as one; without copying where it has come as one. */
  whole (): Buffer {
    const pieces = this.pieces()
    return pieces.length === 1 ? pieces[0] as Buffer : Buffer.concat(pieces, this.length)
  }

  #seal (): void {
    if (this.#block === undefined || this.#used === this.#from) return
    this.#pieces.push(this.#block.subarray(this.#from, this.#used))
    this.#from = this.#used
  }
}
