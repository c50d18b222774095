import type { Secret } from '../secret.js'

/** Where a secret is kept. `read` goes there each time it is called. */
export interface SecretRef {
  /** `env NAME`, `file PATH` or `command ARGV0`: for messages and for the masked config; no secret. */
  readonly source: string
  /** A digest of the whole reference, or of a value that was given: whether two are the same. */
  readonly place?: string
  /**
   * @throws {SecretRefError} where there is nothing, or nothing that may be used: the message says what to do, and
   * never holds a value.
   */
  read (): Promise<Secret>
}

/** Whether a value of the config stands for a secret: what YAML gives holds no functions. */
export function isSecretRef (value: unknown): value is SecretRef {
  return typeof value === 'object' && value !== null && 'read' in value && typeof value.read === 'function'
}
