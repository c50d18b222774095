import { Ajv, type AnySchema, type ErrorObject } from 'ajv'
import type { FastifySchemaCompiler } from 'fastify'
import { ControlError, type Detail } from '../../control.js'
import { formatPath, ValueError, type Path } from '../../config/problem.js'
import { READERS, type ReaderName } from '../../config/readers.js'
import { describe } from '../../config/sentences.js'
import { PARTS } from './schemas.js'

/** A body can be wrong in a hundred thousand places, and nobody reads that. */
const MOST_DETAILS = 50

/**
 * Checks requests against the routes' schemas, with the config's own readers of names and addresses. Nothing is coerced
 * but in a query, where all is text; nothing is dropped.
 */
export function requestValidator (): FastifySchemaCompiler<AnySchema> {
  const strict = createAjv(false)
  const lenient = createAjv(true)
  return ({ schema, httpPart }) => (httpPart === 'querystring' ? lenient : strict).compile(schema)
}

function createAjv (coerceTypes: boolean): Ajv {
  // What a query makes infinite (1e999) passes as a number once it is coerced; were it no number then, minimum and maximum would be skipped.
  const ajv = new Ajv({ allErrors: true, verbose: true, strictTypes: false, strictNumbers: !coerceTypes, allowUnionTypes: true, ownProperties: true, coerceTypes, formats: { 'date-time': true } })
  ajv.addVocabulary(['errorMessage'])
  ajv.addKeyword({ keyword: 'reads', type: 'string', schemaType: 'string', errors: false, compile: (name: ReaderName) => (text: string) => isReadable(name, text) })
  for (const part of PARTS) ajv.addSchema(part)
  return ajv
}

function isReadable (name: ReaderName, text: string): boolean {
  try {
    READERS[name](text)
    return true
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    return false
  }
}

/** Every place where a request is wrong, one finding each; what stands there is never repeated. */
export function invalid (errors: readonly ErrorObject[]): ControlError {
  const found = new Map<string, string>()
  let more = 0
  for (const error of errors) {
    const detail = detailOf(error)
    if (detail === undefined || found.has(detail.path)) continue
    if (found.size < MOST_DETAILS) found.set(detail.path, detail.message)
    else more++
  }
  const details = [...found].map(([path, message]) => ({ path, message }))
  return new ControlError('ERR_REQUEST_INVALID', more === 0 ? details : [...details, { path: '', message: `and ${more} more` }])
}

function detailOf (error: ErrorObject): Detail | undefined {
  // What is wrong with a key is said by the error about the key.
  if (error.schemaPath.includes('/propertyNames/')) return undefined
  const description = describe(error)
  if (description === undefined) return undefined
  const path = [...pathOf(error.instancePath), ...description.below]
  if (description.hidden === true) return { path: formatPath(path.slice(0, -1)), message: 'unknown key; it is not shown, as it may be a secret' }
  if (path.length === 0) return { path: '', message: 'expected a JSON object, sent with Content-Type: application/json' }
  return { path: formatPath(path), message: description.message }
}

/** `/tools/allow/0` → `['tools', 'allow', 0]`. No name in a request is a number, but for that of an upstream, which may be. */
function pathOf (pointer: string): Path {
  return pointer.split('/').slice(1).map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part, index, all) => /^\d+$/.test(part) && all[index - 1] !== 'credentials' ? Number(part) : part)
}
