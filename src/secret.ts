import { createHash } from 'node:crypto'
import { inspect } from 'node:util'

/**
 * A string that must never be seen: a token, a client secret, a session key.
 *
 * Every way in which a value reaches a log line, an error message or a debugger's console prints the fingerprint, the
 * first 8 hex digits of the SHA-256, by which two logs can be compared without either of them holding the secret.
 */
export class Secret {
  readonly #value: string
  #fingerprint: string | undefined

  constructor (value: string) {
    this.#value = value
  }

  /** The secret itself. Called where it leaves the process, nowhere else; a test lists the files that may. */
  reveal (): string {
    return this.#value
  }

  /** First 8 hex digits of the SHA-256 of the value. */
  get fingerprint (): string {
    this.#fingerprint ??= createHash('sha256').update(this.#value).digest('hex').slice(0, 8)
    return this.#fingerprint
  }

  toString (): string {
    return `[secret ${this.fingerprint}]`
  }

  toJSON (): string {
    return this.toString()
  }

  [inspect.custom] (): string {
    return this.toString()
  }
}
