/** Bytes below which any JSON is parsed in no time. */
const SMALL = 16 * 1024
const DEEPEST = 64
const MOST_VALUES = 50_000

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPEN = new Set([0x5b, 0x7b])
const CLOSE = new Set([0x5d, 0x7d])

/**
 * Whether a JSON text can be parsed without keeping everybody else waiting: the parser takes two seconds for four
 * mebibytes of brackets, and one for as many keys, in which no other call moves. This pass takes milliseconds.
 */
export function isModest (json: Buffer): boolean {
  if (json.length <= SMALL) return true
  let depth = 0
  let values = 0
  let inString = false
  for (let i = 0; i < json.length; i++) {
    const byte = json[i] as number
    if (inString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === COMMA) values++
    else if (OPEN.has(byte)) depth++
    else if (CLOSE.has(byte)) depth--
    if (depth > DEEPEST || values > MOST_VALUES) return false
  }
  return true
}
