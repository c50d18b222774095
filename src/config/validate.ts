import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { type Finding, type Path, ValueError } from './problem.js'
import { READERS, type ReaderName } from './readers.js'
import { ConfigSchema } from './schema.js'
import { describe } from './sentences.js'

/**
 * Checks the shape of a config and each of its values by itself.
 *
 * Two keywords of our own: `reads` names the function that reads a text, so that its checks are the schema's checks;
 * `errorMessage`, which yaml-language-server knows too, says what is expected in place of ajv's message.
 * @returns one finding a path; empty when the data is a RawConfig
 */
export function structureFindings (raw: unknown): Finding[] {
  const validate = validator()
  if (validate(raw)) return []
  const found = new Map<string, Finding & { readonly exact: boolean }>()
  for (const error of validate.errors ?? []) {
    const description = isNoise(error) ? undefined : describe(error)
    if (description === undefined) continue
    const path = [...pathOf(error.instancePath, raw), ...description.below]
    const key = JSON.stringify(path)
    // A reader's message is more exact than that of the pattern that an editor needs, and a union's than its branches'.
    const exact = error.keyword === 'reads' || error.keyword === 'anyOf'
    if (!found.has(key) || exact) found.set(key, { path, message: description.message, hidden: description.hidden === true, exact })
  }
  return [...found.values()].map(({ path, message, hidden = false }) => ({ path, message, hidden }))
}

/** What is wrong within one branch of a union does not matter: the union's own error says what is expected. */
function isNoise (error: ErrorObject): boolean {
  return /\/anyOf\/\d|\/propertyNames\//.test(error.schemaPath) || error.keyword === 'if'
}

/** `/sessions/0/key` → `['sessions', 0, 'key']`; a digit is an index only where the data has a list. */
function pathOf (pointer: string, raw: unknown): Path {
  let value = raw
  return pointer.split('/').slice(1).map((part) => {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    const segment = Array.isArray(value) ? Number(key) : key
    value = (value as Record<string | number, unknown>)[segment]
    return segment
  })
}

let compiled: ValidateFunction | undefined

/**
 * Compiled at the first use, as it takes a tenth of a second that `--help` need not wait for; the same schema every time. A
 * definition is checked by a function of its own: written out wherever it is used, as ajv would, it takes twice that, and
 * V8 comes to make 2 MB of machine code of it after a few reloads.
 */
function validator (): ValidateFunction {
  if (compiled !== undefined) return compiled
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: true, strictTypes: false, allowUnionTypes: true, ownProperties: true, inlineRefs: false })
  ajv.addVocabulary(['errorMessage'])
  // The reader's message is fetched again in sentences.ts: ajv takes quadratic time to collect errors of a keyword's own.
  ajv.addKeyword({ keyword: 'reads', type: 'string', schemaType: 'string', errors: false, compile: (name: ReaderName) => checkerFor(name) })
  compiled = ajv.compile(ConfigSchema)
  return compiled
}

function checkerFor (name: ReaderName) {
  return (text: string) => {
    try {
      READERS[name](text)
      return true
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      return false
    }
  }
}
