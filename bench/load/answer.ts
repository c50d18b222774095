/** Reads HTTP/1.1 answers as small as the benchmark's: the whole of it is in memory, and read again if a part is missing. */

export interface Answer { status: number, head: string, body: Buffer }

/**
 * The answer at the start of `data`, or undefined while it is incomplete.
 * Throws where it isn't framed, or where bytes follow it (no call is pipelined, so there is nothing they could belong to).
 */
export function readAnswer (data: Buffer): Answer | undefined {
  const end = data.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const head = data.toString('latin1', 0, end)
  const status = Number(head.slice(9, 12))
  const from = end + 4
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (length !== null) {
    const to = from + Number(length[1])
    if (data.length < to) return undefined
    if (data.length > to) throw new Error('bytes after the answer')
    return { status, head, body: data.subarray(from, to) }
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error('an answer without length or chunks')
  const body = readChunks(data, from)
  return body && { status, head, body }
}

function readChunks (data: Buffer, from: number): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = from; ;) {
    const eol = data.indexOf('\r\n', at)
    if (eol < 0) return undefined
    const size = Number.parseInt(data.toString('latin1', at, eol), 16)
    if (Number.isNaN(size)) throw new Error('a chunk without a size')
    const next = eol + 2 + size + 2
    if (data.length < next) return undefined
    if (size === 0) {
      if (data.length > next) throw new Error('bytes after the answer')
      return parts.length === 1 ? parts[0] : Buffer.concat(parts)
    }
    parts.push(data.subarray(eol + 2, eol + 2 + size))
    at = next
  }
}
