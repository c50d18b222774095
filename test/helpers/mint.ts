import { randomBytes } from 'node:crypto'

/** An opaque token that exists nowhere else, in the style of an API token. */
export function mintToken (prefix = 'ai_dev'): string {
  return `${prefix}_${randomBytes(24).toString('base64url')}`
}
