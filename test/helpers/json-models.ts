import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } from 'node:zlib'

/** A JSON value as somebody reads it who forgets nothing: each member of an object, in order, however often. */
export type Tree = string | number | boolean | null | Tree[] | Members
export interface Members { readonly members: Array<readonly [key: string, value: Tree]> }

export interface Habits {
  /** Comments, trailing commas, single quotes, `NaN`, any white space, control characters in strings, bad escapes. */
  readonly loose?: boolean
  /** Stops at the end of the first value, whatever comes behind it. */
  readonly first?: boolean
  /** Reads several values, one behind the other. */
  readonly many?: boolean
}

/** The one value of a text. @throws {SyntaxError} for what is no JSON */
export function parseTree (text: string): Tree {
  return parseTrees(text)[0] as Tree
}

/**
 * A parser by recursive descent over characters, which shares nothing with the one that it is a reference for.
 * @throws {SyntaxError} for what is no JSON to somebody of these habits
 */
function parseTrees (text: string, { loose = false, first = false, many = false }: Habits = {}): Tree[] {
  let at = 0
  const fail = (): never => { throw new SyntaxError(`at ${at}`) }
  const blank = (): void => {
    for (;;) {
      const space = (loose ? /^[\s\ufeff\0]+/ : /^[ \t\r\n]+/).exec(text.slice(at, at + 64))
      const comment = loose ? /^(?:\/\/[^\n]*|\/\*[\s\S]*?\*\/|#[^\n]*)/.exec(text.slice(at, at + 4096)) : null
      const skipped = space?.[0] ?? comment?.[0]
      if (skipped === undefined) return
      at += skipped.length
    }
  }
  const string = (): string => {
    const quote = text[at++]
    let out = ''
    for (;;) {
      const character = text[at++]
      if (character === undefined) return fail()
      if (character === quote) return out
      if (character !== '\\') {
        if (character < ' ' && !loose) fail()
        out += character
        continue
      }
      const escape = text[at++] ?? fail()
      if (escape === 'u') {
        const hex = text.slice(at, at + 4)
        if (!/^[\da-fA-F]{4}$/.test(hex)) fail()
        out += String.fromCharCode(Number.parseInt(hex, 16))
        at += 4
      } else if ('"\\/bfnrt'.includes(escape)) out += { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }[escape] ?? escape
      else if (loose) out += escape
      else fail()
    }
  }
  const value = (): Tree => {
    blank()
    const character = text[at]
    if (character === '"' || (loose && character === "'")) return string()
    if (character === '[' || character === '{') {
      at++
      const [members, elements]: [Array<readonly [string, Tree]>, Tree[]] = [[], []]
      const end = character === '[' ? ']' : '}'
      for (let count = 0; ; count++) {
        blank()
        if (text[at] === end && (count === 0 || loose)) break
        if (character === '[') elements.push(value())
        else {
          if (text[at] !== '"' && !(loose && text[at] === "'")) fail()
          const key = string()
          blank()
          if (text[at++] !== ':') fail()
          members.push([key, value()])
        }
        blank()
        if (text[at] === end) break
        if (text[at++] !== ',') fail()
      }
      at++
      return character === '[' ? elements : { members }
    }
    const word = (loose ? /^(?:true|false|null|-?(?:NaN|Infinity)|[-+]?[\d.][\w.+-]*)/i : /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)/).exec(text.slice(at, at + 4096))?.[0] ?? fail()
    at += word.length
    return word === 'true' ? true : word === 'false' ? false : word === 'null' ? null : Number(word)
  }
  const found: Tree[] = []
  for (;;) {
    found.push(value())
    blank()
    if (!many || at >= text.length) break
  }
  if (at < text.length && !first) fail()
  return found
}

/** As somebody reads a name who takes no account of case and of what cannot be seen. */
export const fold = (text: string): string => text.normalize('NFKC').replace(/[\s\p{C}]/gu, '').toUpperCase().toLowerCase()

/** Every value that anybody might take for the member of this name: of another case, the first, the last, by inheritance. */
function readings (tree: Tree | undefined, name: string): Tree[] {
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) return []
  return tree.members.flatMap(([key, value]) => fold(key) === name ? [value] : key === '__proto__' ? readings(value, name) : [])
}

/** Every tool that somebody who reads carelessly might call for these messages, of arrays within arrays as well. */
function callsIn (tree: Tree): string[] {
  if (Array.isArray(tree)) return tree.flatMap(callsIn)
  if (!readings(tree, 'method').some((method) => typeof method === 'string' && fold(method) === 'tools/call')) return []
  const params = readings(tree, 'params')
  return params.flatMap((some) => [...readings(some, 'name'), ...Array.isArray(some) ? some : []]).flat().filter((name) => typeof name === 'string')
}

/**
 * Every tool that a server of whatever habits might call for a request: one that undoes codings and character sets, drops
 * a byte order mark, takes the first of two members or the last, or one of another case, reads the first of several
 * texts, or each line; that goes by headers, or by the query.
 */
export function possibleCalls (body: Buffer, headers: Readonly<Record<string, string | string[] | undefined>> = {}, url = '/'): Set<string> {
  const found = new Set<string>()
  for (const bytes of [body, ...decoded(body, headers)]) {
    for (const text of texts(bytes, headers)) {
      for (const part of [text, text.split('\n')[0] as string, text.split('\0')[0] as string]) {
        for (const habits of [{}, { loose: true }, { first: true }, { loose: true, first: true }, { many: true }, { loose: true, many: true }]) {
          try {
            for (const tool of callsIn(parseTrees(part, habits))) found.add(tool)
          } catch (error) {
            if (!(error instanceof SyntaxError) && !(error instanceof RangeError)) throw error
          }
        }
      }
    }
  }
  if (/tools\/call/i.test(String(headers['mcp-method'])) && headers['mcp-name'] !== undefined) found.add(String(headers['mcp-name']))
  const query = new URL(url, 'http://x').searchParams
  if ([...query].some(([name, value]) => /method/i.test(name) && value === 'tools/call')) found.add(query.get('name') ?? query.get('params') ?? '')
  return found
}

function decoded (body: Buffer, headers: Readonly<Record<string, string | string[] | undefined>>): Buffer[] {
  if (!/gzip|deflate|br/.test(String(headers['content-encoding']))) return []
  return [gunzipSync, inflateSync, inflateRawSync, brotliDecompressSync].flatMap((undo) => {
    try {
      return [undo(body)]
    } catch {
      return []
    }
  })
}

function texts (bytes: Buffer, headers: Readonly<Record<string, string | string[] | undefined>>): string[] {
  const wide = bytes.length % 2 === 0 ? bytes : bytes.subarray(0, -1)
  const utf7 = /utf-?7/i.test(String(headers['content-type']))
    ? [bytes.toString('latin1').replace(/\+([A-Za-z0-9+/]+)-?/g, (_, base64: string) => Buffer.from(base64, 'base64').swap16().toString('utf16le'))]
    : []
  return [
    bytes.toString('utf8'), bytes.toString('utf8').replace(/^\ufeff/, ''), bytes.toString('latin1'), wide.toString('utf16le').replace(/^\ufeff/, ''),
    Buffer.from(wide).swap16().toString('utf16le').replace(/^\ufeff/, ''), overlong(bytes), ...utf7,
  ]
}

/** As decoders did that took two bytes for a character of one (RFC 3629 §10). */
function overlong (bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[\xc0\xc1]([\x80-\xbf])/g, (pair) => String.fromCharCode((pair.charCodeAt(0) & 0x1f) << 6 | (pair.charCodeAt(1) & 0x3f)))
}
