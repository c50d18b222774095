import { distance } from 'fastest-levenshtein'
import type { ErrorObject } from 'ajv'
import { looksLikeSecret, type ValueError } from './problem.js'
import { READERS, type ReaderName } from './readers.js'
import { SECRET_EXPECTED } from './schema-parts.js'
import { Upstream } from './schema-upstream.js'
import { secretComplaint } from './secret-shape.js'

interface Description {
  readonly message: string
  /** The path from the error's own place to the one that is meant: a key that is unknown or missing. */
  readonly below: readonly string[]
  readonly hidden?: boolean
}

/**
 * ajv's error (of `verbose` mode) as a sentence about what is expected, never about what was found, which may be a
 * secret in the wrong place. Undefined for errors that say nothing beside others.
 */
export function describe (error: ErrorObject): Description | undefined {
  const { keyword, params, data } = error
  const schema = error.parentSchema as { errorMessage?: string, properties?: object, type?: unknown, enum?: readonly unknown[], reads?: ReaderName }
  if (keyword === 'required') return { message: 'is required', below: [params.missingProperty as string] }
  if (keyword === 'additionalProperties') return misplaced(params.additionalProperty as string, schema.properties) ?? unknownKey(params.additionalProperty as string, Object.keys(schema.properties ?? {}))
  if (keyword === 'propertyNames') return badName(params.propertyName as string, error.schema as { reads: ReaderName })
  if (keyword === 'reads') return here(complaint(error.schema as ReaderName, data as string))
  if (data === null) return here('is empty: give it a value, or leave the key out')
  if (schema.errorMessage === SECRET_EXPECTED) return here(secretComplaint(data))
  if (keyword === 'type' && /^.(?:upstreams|principals)$/.test(error.instancePath) && Array.isArray(data)) return here('expected a map (key: value), and this is a list: write a name and a colon in place of each dash')
  return here(schema.errorMessage ?? expectation(keyword, schema))
}

/** A setting of an upstream at the top of the config. */
function misplaced (key: string, known: object = {}): Description | undefined {
  if (!('upstreams' in known) || !Object.hasOwn(Upstream.properties, key)) return undefined
  return { message: `unknown key here; it is a setting of an upstream: upstreams.NAME.${key}`, below: [key] }
}

/**
 * `unknown key; did you mean "url"?` A key that does not look like a word may be a value that lost its place
 * (`{ token:abc }` is one key), so it is not shown.
 */
export function unknownKey (key: string, known: readonly string[], where = ''): Description {
  const near = nearest(key, known)
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  const isWord = /^[$A-Za-z_][A-Za-z_-]{0,31}$/.test(key) && !looksLikeSecret(key)
  if (isWord || near !== undefined) return { message: `unknown key${where}${hint}`, below: [key] }
  if (key === '<<') return { message: 'merge keys (<<) are not understood here', below: [key] }
  return { message: `unknown key${where}; it is not shown, as it may be a secret: is there a space after each colon?`, below: [key], hidden: true }
}

/** The known name that is at most a third of it away. */
export function nearest (name: string, known: readonly string[]): string | undefined {
  if (name.length > 64) return undefined
  const ranked = known
    .map((candidate) => ({ candidate, away: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, away }) => away <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((a, b) => a.away - b.away)
  return ranked[0]?.candidate
}

function here (message: string): Description {
  return { message, below: [] }
}

function badName (name: string, schema: { reads: ReaderName }): Description {
  return { message: complaint(schema.reads, name), below: [name] }
}

/** What a reader says of a text that it refuses; all of them refuse the empty one. */
function complaint (reads: ReaderName, text: string): string {
  try {
    READERS[reads](text)
    return 'expected another text'
  } catch (error) {
    return (error as ValueError).message
  }
}

function expectation (keyword: string, schema: { type?: unknown, enum?: readonly unknown[], reads?: ReaderName }): string {
  if (schema.reads !== undefined) return complaint(schema.reads, '')
  if (keyword === 'enum') return `must be one of ${schema.enum?.join(', ')}`
  if (keyword === 'uniqueItems') return 'holds the same value twice'
  return `expected ${TYPES[String(schema.type)] ?? 'another value'}`
}

const TYPES: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  object: 'a map (key: value)',
  string: 'a text',
}
