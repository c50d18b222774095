/** A secret cannot be had. The message says where it was looked for and what to do; it never holds any of its content. */
export class SecretRefError extends Error {
  constructor (message: string) {
    super(message)
    this.name = 'SecretRefError'
  }
}

export const MAX_SECRET_BYTES = 64 * 1024

/** @throws {SecretRefError} unless the bytes are UTF-8 */
export function decodeSecret (bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new SecretRefError(`${source} is not UTF-8 text`)
  }
}
