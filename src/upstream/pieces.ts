/** Bytes: what is written at once. A smaller body goes out as it is. */
const PIECE = 64 * 1024

/**
 * A large body as pieces, which undici writes as fast as the upstream reads them; any other as it is. Can be sent again
 * and again.
 *
 * As one Buffer, all of it would be in the socket at once. An upstream that answers before it has read everything (an
 * early 401) would then leave a connection that looks idle while it still holds megabytes of this body, and the next
 * call on it would wait behind them. What is sent in pieces is known to be unfinished, and its connection is closed.
 */
export function inPieces (body: Buffer): Buffer | Iterable<Buffer> {
  if (body.length <= PIECE) return body
  return {
    * [Symbol.iterator] () {
      for (let start = 0; start < body.length; start += PIECE) yield body.subarray(start, start + PIECE)
    },
  }
}
