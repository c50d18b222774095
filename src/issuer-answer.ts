/** Bytes of an answer of an issuer's: its longest key set is far smaller. */
export const LARGEST_ANSWER = 256 * 1024

/** An issuer says more than anybody has to listen to. */
export class TooLarge extends Error {
  constructor () {
    super(`larger than ${LARGEST_ANSWER / 1024} KiB`)
    this.name = 'TooLarge'
  }
}

/** All that an issuer says, if it is not too much. @throws {TooLarge} */
export async function boundedText (body: AsyncIterable<Uint8Array> | null): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.byteLength
    // Leaving the loop cancels the body, and with it the connection.
    if (size > LARGEST_ANSWER) throw new TooLarge()
    chunks.push(chunk)
  }
  // Without a byte order mark, which some put before good JSON (RFC 8259 §8.1).
  return new TextDecoder().decode(Buffer.concat(chunks))
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
