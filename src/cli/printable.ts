/** Control, format (bidirectional overrides among them) and unassigned characters, and line separators. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu
/** Letters of scripts that run from right to left, which would turn the cells beside them round. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u
/** Takes two columns (UAX #11, as far as names need it). */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
/** Takes none. */
const NO_WIDTH = /[\p{M}\u2068\u2069]/u
const [ISOLATE, END_ISOLATE] = ['\u2068', '\u2069']

/**
 * A text of somebody else's for a terminal: on one line, of bounded length, and without anything that could move the
 * cursor, change colours or reorder what stands beside it. What cannot be seen is shown as `\u{202e}`.
 * @param most characters; more than these end in `…`
 */
export function printable (text: unknown, most = 48): string {
  // Cut before the work is done, as an escape makes a character eight times as long.
  const characters = [...String(text).slice(0, 2 * most + 2)]
  const cut = characters.length > most ? [...characters.slice(0, most - 1), '…'] : characters
  const shown = cut.join('').replace(HIDDEN, (hidden) => `\\u{${(hidden.codePointAt(0) as number).toString(16)}}`)
  return RIGHT_TO_LEFT.test(shown) ? ISOLATE + shown + END_ISOLATE : shown
}

/** Columns that a printable text takes. */
export function widthOf (text: string): number {
  let width = 0
  for (const character of text) width += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1
  return width
}

/** JSON for scripts that does a terminal no harm either: the same value, with what cannot be seen as `\uXXXX`. */
export function printableJson (value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent)
  return text.replace(HIDDEN, (hidden) => hidden === '\n' ? hidden : [...Array(hidden.length).keys()].map((i) => `\\u${hidden.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''))
}
