import { createHash } from 'node:crypto'

/** Length of the pieces that are looked for: a secret that leaked in part has leaked. */
const PIECE = 12

/** Secrets that must turn up nowhere, in any encoding, whole or in part. */
export class Canaries {
  readonly #pieces = new Map<string, string>()

  /** @param name what a test says was found */
  add (name: string, secret: string): string {
    // The first part of a JWT is the same in all of them, and no secret.
    const own = secret.split('.').length === 3 ? secret.slice(secret.indexOf('.') + 1) : secret
    for (const form of [own, encodeURIComponent(own), Buffer.from(own).toString('hex'), ...base64Forms(own)]) {
      for (let i = 0; i + PIECE <= form.length; i += PIECE) this.#pieces.set(form.slice(i, i + PIECE), name)
    }
    // Nor may the full digest, from which a fingerprint is eight characters.
    this.#pieces.set(createHash('sha256').update(secret).digest('hex').slice(0, 2 * PIECE), `${name}'s digest`)
    return secret
  }

  get size (): number {
    return this.#pieces.size
  }

  /** The names of the secrets of which a piece is in this text. */
  findIn (text: string): string[] {
    const lower = text.toLowerCase()
    return [...new Set([...this.#pieces].filter(([piece]) => text.includes(piece) || (/^[0-9a-f]+$/.test(piece) && lower.includes(piece))).map(([, name]) => name))]
  }
}

/** Base64 of a text that stands anywhere in a longer one: it begins at one of three places in a group. */
function base64Forms (text: string): string[] {
  return [0, 1, 2].map((shift) => Buffer.from(' '.repeat(shift) + text).toString('base64').slice(shift === 0 ? 0 : 4, -4))
}
