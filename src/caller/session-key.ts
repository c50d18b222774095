import { createHmac, randomBytes, type KeyObject } from 'node:crypto'
import { Secret } from '../secret.js'

const SHAPE = /^vk_[A-Za-z0-9_-]{43}$/
/** Hashed in place of what cannot be a key, so that a malformed key takes as long to refuse as an unknown one. */
const PLACEHOLDER = 'vk_' + '0'.repeat(43)

/** A new session key: `vk_` and 256 random bits in base64url. */
export function mintSessionKey (): Secret {
  return new Secret('vk_' + randomBytes(32).toString('base64url'))
}

export function isSessionKey (text: string): boolean {
  return text.length === PLACEHOLDER.length && SHAPE.test(text)
}

/** HMAC-SHA256 of a session key, which is all that is ever kept of it. */
export function hashSessionKey (pepper: KeyObject, key: string): Buffer {
  return createHmac('sha256', pepper).update(isSessionKey(key) ? key : PLACEHOLDER).digest()
}
