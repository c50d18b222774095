/** Why a login did not come about: a sentence for the person at the terminal that says what to do. Holds no secret. */
export class LoginError extends Error {
  constructor (message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LoginError'
  }
}

const LONGEST = 200

/** An address for the terminal: without its query, and no longer than people read. A URL's own spelling has no control characters. */
export function shown (url: URL): string {
  const text = url.origin + (url.pathname === '/' ? '' : url.pathname)
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
}

/**
 * What an issuer says of itself, for a person to read: the characters of RFC 6749 §4.1.2.1 only, so that nothing of it
 * moves the cursor of a terminal, and no longer than a sentence or two.
 */
export function quoted (text: string): string {
  const plain = text.replaceAll(/[^\x21\x23-\x5b\x5d-\x7e]+/g, ' ').trim()
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST)}…` : plain
}
