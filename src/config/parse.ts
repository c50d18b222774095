import { Composer, type CST, type Document, Lexer, LineCounter, Parser, type YAMLError } from 'yaml'
import { ConfigError, type ConfigProblem } from './problem.js'
import type { Located } from './position.js'
import { isTooLarge, MAX_DEPTH, nestsDeeperThan } from './bounds.js'
import { type Fault, treeFaults } from './tree.js'

export const MAX_CONFIG_BYTES = 1024 * 1024
const MAX_LEXEMES = 400_000
const MAX_ALIASES = 1_000
const MAX_FAULTS = 200

const LEAST_CONFIG = 'the config is empty; the least one is: upstreams: { tools: { url: http://localhost:8001/mcp } }'

/**
 * YAML text → plain data and where each part of it stands. Everything a hostile file could do to the parser is bounded
 * before the parser gets to do it: size, number of lexemes, depth (the `yaml` package aborts the process when V8 runs
 * out of stack while it compiles a regular expression), number of aliases.
 * @throws {ConfigError} whose messages are our own, as the package's repeat parts of the text
 */
export function parseConfig (text: string, file: string | undefined): Located {
  const lines = new LineCounter()
  const refuse = (...faults: Fault[]): never => {
    throw new ConfigError(file, faults.slice(0, MAX_FAULTS).map(({ offset, message }) => problemAt(lines, offset, message)))
  }
  const refuseWhole = (message: string): never => { throw new ConfigError(file, [{ path: '', line: 0, column: 0, message }]) }

  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) refuseWhole('the config is larger than 1 MiB')
  const tokens = tokenize(text, lines)
  if (tokens === undefined) return refuseWhole('the config has too many parts')
  if (nestsDeeperThan(tokens, MAX_DEPTH)) refuseWhole(`the config is nested deeper than ${MAX_DEPTH} levels`)

  const documents = compose(tokens)
  const [document, second] = documents
  if (second !== undefined) refuse({ offset: second.range[0], message: 'there must be one YAML document only: remove the "---"' })
  if (document === undefined) return refuseWhole(LEAST_CONFIG)
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) refuse(...faults.map((fault) => ({ offset: fault.pos[0], message: sentence(fault.code) })))
  const more = treeFaults(document.contents)
  if (more.length > 0) refuse(...more)

  const value = toData(document)
  if (value === undefined) return refuseWhole('the config has too many aliases (*name), or one that leads to itself')
  if (isTooLarge(value)) refuseWhole('the config has too many parts, or its aliases (*name) make it too deep')
  if (value === null) refuseWhole(LEAST_CONFIG)
  return { value, contents: document.contents, lines }
}

/**
 * The text at a place of a config that may be no good YAML, as far as that can be read, and bounded as above. Nothing else of it
 * is made data of: an alias elsewhere may lead nowhere.
 */
export function textIn (text: string, path: readonly string[]): string | undefined {
  if (Buffer.byteLength(text) > MAX_CONFIG_BYTES) return undefined
  const tokens = tokenize(text, new LineCounter())
  if (tokens === undefined || nestsDeeperThan(tokens, MAX_DEPTH)) return undefined
  const value = compose(tokens)[0]?.getIn(path)
  return typeof value === 'string' ? value : undefined
}

function tokenize (text: string, lines: LineCounter): CST.Token[] | undefined {
  const parser = new Parser(lines.addNewLine)
  const tokens: CST.Token[] = []
  let count = 0
  lines.addNewLine(0)
  for (const lexeme of new Lexer().lex(text)) {
    count += 1
    if (count > MAX_LEXEMES) return undefined
    tokens.push(...parser.next(lexeme))
  }
  tokens.push(...parser.end())
  return tokens
}

/** Keys are compared in tree.ts: the package's own comparison takes quadratic time. */
function compose (tokens: CST.Token[]): Document.Parsed[] {
  const composer = new Composer({ version: '1.2', schema: 'core', merge: false, uniqueKeys: false, stringKeys: true, prettyErrors: false, logLevel: 'error' })
  return [...composer.compose(tokens)] as Document.Parsed[]
}

/** Undefined where the package refuses the aliases; null stays null, for an empty document. */
function toData (document: Document.Parsed): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch {
    return undefined
  }
}

function problemAt (lines: LineCounter, offset: number, message: string): ConfigProblem {
  const { line, col } = lines.linePos(offset)
  return { path: '', line, column: col, message }
}

const SENTENCES: Partial<Record<YAMLError['code'], string>> = {
  BAD_ALIAS: 'an alias (*name) or an anchor (&name) is not complete; a text that starts with "*" or "&" needs quotes',
  BAD_DQ_ESCAPE: 'there is an unknown escape (\\…) in this text: use single quotes for text with backslashes',
  BAD_INDENT: 'the indentation does not fit, or a bracket is not closed',
  BAD_SCALAR_START: 'a text that starts with this character needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a key with a value was not expected here: check the indentation, or put the text into quotes',
  MISSING_CHAR: 'a closing quote, bracket, comma or colon is missing',
  MULTILINE_IMPLICIT_KEY: 'a key must stand on one line, with a colon and a space after it',
  NON_STRING_KEY: 'a key must be a text',
  TAB_AS_INDENT: 'tabs cannot indent YAML: use spaces',
  TAG_RESOLVE_FAILED: 'tags (!name) are not understood here',
  UNEXPECTED_TOKEN: 'this was not expected here',
}

function sentence (code: YAMLError['code']): string {
  return `not valid YAML: ${SENTENCES[code] ?? 'the syntax is wrong here'}`
}
