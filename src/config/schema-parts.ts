import { Type } from 'typebox'
import type { ReaderName } from './readers.js'
import type { SecretSource } from './secret-ref.js'
import { DURATION_EXPECTED } from './units.js'

/** What an `errorMessage` says, in an editor and by `mcp-valet check`, where a secret is not a reference. */
export const SECRET_EXPECTED = 'a secret is never written here: use { env: NAME }, { file: PATH } or { command: [..] }'

const DURATION_PATTERN = '^[0-9]+(ms|s|m|h|d)$'

/** A text that the named reader can read. `extra` is for the editor: examples, default, pattern. */
export function text (reads: ReaderName, description: string, extra: Record<string, unknown> = {}) {
  return Type.String({ description, reads, ...extra })
}

export function duration (description: string, fallback: string, reads: ReaderName = 'duration') {
  return text(reads, description, { default: fallback, pattern: DURATION_PATTERN, errorMessage: DURATION_EXPECTED })
}

/** A duration, or the number 0 for none. */
export function durationOrZero (description: string, fallback: string | number) {
  return Type.Unsafe<string | 0>({
    description,
    default: fallback,
    anyOf: [{ const: 0 }, { type: 'string', pattern: DURATION_PATTERN, reads: 'duration' }],
    errorMessage: `${DURATION_EXPECTED}; or 0 for no limit`,
  })
}

export function secret (description: string) {
  return Type.Unsafe<SecretSource>({ $ref: '#/definitions/secret', description })
}

/** PEM material that is no secret: a path will do. */
export function publicPem (description: string) {
  return Type.Unsafe<string | SecretSource>({
    description,
    anyOf: [{ type: 'string', minLength: 1, reads: 'file' }, { $ref: '#/definitions/secret' }],
    errorMessage: 'expected the path of a PEM file, or { env: NAME }, { file: PATH } or { command: [..] }',
  })
}

/** A map whose keys are names that users choose. */
export function record<T> (names: ReaderName | undefined, value: object, extra: Record<string, unknown>) {
  return Type.Unsafe<Record<string, T>>({
    type: 'object',
    ...(names === undefined ? {} : { propertyNames: { type: 'string', reads: names } }),
    additionalProperties: value,
    ...extra,
  })
}

/** The definitions that `$ref` points at. */
export const SECRET_DEFINITION = {
  title: 'Where a secret is kept',
  description: 'A secret is never a literal. Files are read each time the secret is needed, so a rotated one is picked up; relative paths start from the working directory.',
  anyOf: [
    closed('env', { type: 'string', reads: 'envName', description: 'Name of an environment variable.' }),
    closed('file', { type: 'string', minLength: 1, reads: 'file', description: 'Path of a file that others cannot read (chmod o-rwx); a newline at its end is cut off.' }),
    closed('command', {
      type: 'array',
      minItems: 1,
      items: { type: 'string', reads: 'file' },
      description: 'Program and arguments, run without a shell for at most 10 s; the secret is what it prints.',
    }),
  ],
  examples: [{ env: 'CLIENT_SECRET' }, { file: '/run/secrets/client_secret' }, { command: ['pass', 'show', 'mcp/alice'] }],
  errorMessage: SECRET_EXPECTED,
}

function closed (key: string, value: object) {
  return { type: 'object', properties: { [key]: value }, required: [key], additionalProperties: false }
}
