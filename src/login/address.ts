import { readable } from '../config/raw.js'
import { isLoopback, readIssuer } from '../config/url.js'

/** Whether nobody on the way can read or change what is said there: TLS, or no way at all. */
export function isPrivateWay (url: URL): boolean {
  return url.protocol === 'https:' || isLocalPlain(url)
}

export function isLocalPlain (url: URL): boolean {
  return url.protocol === 'http:' && isLoopback(url.hostname)
}

/** An issuer identifier (RFC 8414 §2); undefined for what is none. */
export function issuerIn (value: unknown): URL | undefined {
  return typeof value === 'string' ? readable(value, readIssuer) : undefined
}

/** Whether a text that stands for a URL has only characters that URLs have: parsing one drops others without a word. */
export function isPlainText (text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text)
}
