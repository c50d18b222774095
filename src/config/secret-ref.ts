import { hash } from 'node:crypto'
import { Secret } from '../secret.js'
import type { SecretRef } from './config.js'
import { readSecretCommand } from './secret-command.js'
import { readSecretFile } from './secret-file.js'
import { SecretRefError } from './secret-error.js'

export { SecretRefError }

/** How a reference to a secret is written in the config. */
export type SecretSource =
  | { readonly env: string }
  | { readonly file: string }
  | { readonly command: readonly string[] }

export interface SecretRefOptions {
  /** Where `env` looks, and what a command gets. */
  readonly env: NodeJS.ProcessEnv
  /** PEM: line breaks within are fine. */
  readonly multiline?: boolean
  /** A certificate is no secret: its file may be readable by others. */
  readonly shared?: boolean
  /** How long a command may take, in milliseconds; 10 000 by default. */
  readonly timeoutMs?: number
}

/**
 * Makes a reference that goes to the secret's place each time it is read.
 *
 * `read` rejects with a SecretRefError where there is nothing (unset, empty, no file, a command that fails), where a
 * file is open to others, where there is more than 64 KiB, and where the text could not be sent in a header: control
 * characters, or line breaks without `multiline`. A newline at the end is cut off.
 */
export function secretRef (from: SecretSource, options: SecretRefOptions): SecretRef {
  const source = sourceOf(from)
  return {
    source,
    place: hash('sha256', JSON.stringify(from)),
    async read () {
      return new Secret(usable(await readFrom(from, options), source, options.multiline === true))
    },
  }
}

function sourceOf (from: SecretSource): string {
  if ('env' in from) return `env ${from.env}`
  if ('file' in from) return `file ${from.file}`
  return `command ${from.command[0]}`
}

async function readFrom (from: SecretSource, options: SecretRefOptions): Promise<string> {
  if ('file' in from) return await readSecretFile(from.file, options.shared === true)
  if ('command' in from) return await readSecretCommand(from.command, options.env, options.timeoutMs)
  const value = options.env[from.env]
  if (value === undefined) throw new SecretRefError(`the environment variable ${from.env} is not set`)
  return value
}

function usable (text: string, source: string, multiline: boolean): string {
  const value = withoutFinalNewlines(text)
  if (value === '') throw new SecretRefError(`${source} is empty`)
  if (!multiline && /[\r\n]/.test(value)) throw new SecretRefError(`${source} holds more than one line`)
  // eslint-disable-next-line no-control-regex -- they are what is looked for: undici and servers refuse them in headers
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(value)) throw new SecretRefError(`${source} holds control characters`)
  return value
}

/** A loop, as the regular expression for it takes quadratic time on a text that is full of newlines. */
function withoutFinalNewlines (text: string): string {
  let end = text.length
  while (text[end - 1] === '\n' || text[end - 1] === '\r') end -= 1
  return text.slice(0, end)
}
