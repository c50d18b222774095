import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } from 'node:zlib'

/** Bytes of an answer of an issuer's: its longest key set is far smaller. */
export const LARGEST_ANSWER = 256 * 1024

const TOO_LARGE = `larger than ${LARGEST_ANSWER / 1024} KiB`

/** An answer of an issuer's that cannot be taken in. The message ends a sentence: `its key set is …`. */
export class UnfitAnswer extends Error {
  constructor (message: string) {
    super(message)
    this.name = 'UnfitAnswer'
  }
}

/**
 * All that an issuer says, if it is not too much, packed or unpacked.
 * @param coding its `Content-Encoding`: nobody asks for one, but there are servers that pack whatever they send
 * @throws {UnfitAnswer}
 */
export async function boundedText (body: AsyncIterable<Uint8Array>, coding?: string): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    // Leaving the loop cancels the body, and with it the connection.
    if (size > LARGEST_ANSWER) throw new UnfitAnswer(TOO_LARGE)
    chunks.push(chunk)
  }
  // Without a byte order mark, which some put before good JSON (RFC 8259 §8.1).
  return new TextDecoder().decode(unpacked(Buffer.concat(chunks), coding))
}

/** One coding at most: with several, a few bytes could be made into work without end. @throws {UnfitAnswer} */
function unpacked (bytes: Buffer, coding = ''): Uint8Array {
  const unpack = unpacker(coding.trim().toLowerCase(), bytes)
  if (unpack === undefined) throw new UnfitAnswer('packed in a way that is not read here (Content-Encoding)')
  if (bytes.byteLength === 0) return bytes
  try {
    return unpack(bytes, { maxOutputLength: LARGEST_ANSWER })
  } catch (error) {
    const tooLarge = error instanceof RangeError && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE'
    throw new UnfitAnswer(tooLarge ? TOO_LARGE : 'packed, and cannot be unpacked (Content-Encoding)')
  }
}

/** Of a content coding of RFC 9110 §8.4.1, or Brotli's (RFC 7932). */
function unpacker (coding: string, bytes: Uint8Array): ((bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array) | undefined {
  if (coding === '' || coding === 'identity') return (bytes) => bytes
  if (coding === 'gzip' || coding === 'x-gzip') return gunzipSync
  if (coding === 'br') return brotliDecompressSync
  // Some send it without the wrapper that it should have, whose first byte ends in 8 (RFC 1950 §2.2).
  if (coding === 'deflate') return ((bytes[0] ?? 8) & 15) === 8 ? inflateSync : inflateRawSync
  return undefined
}

/** Undefined where it is none. */
export function parseObject (text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : undefined
  } catch {
    return undefined
  }
}

/** `ECONNREFUSED` and its like; never a message, which may quote what was sent. */
export function causeCode (error: unknown): string {
  const cause = error instanceof Error ? error.cause ?? error : undefined
  const code = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code) ? code : 'connection failed'
}
