import { widthOf } from './printable.js'
import type { Palette } from './terminal.js'

/** A printable text, and how it is painted. */
export interface Cell { readonly text: string, readonly paint?: ((text: string) => string) | undefined }

/** Lines of a table under its heads, two spaces between columns. A column that is empty in each row is left out. */
export function table (heads: readonly string[], rows: ReadonlyArray<readonly Cell[]>, { soft }: Palette): string {
  const used = heads.map((_head, column) => column).filter((column) => rows.some((row) => row[column]?.text !== ''))
  const lines: Array<readonly Cell[]> = [heads.map((text) => ({ text, paint: soft })), ...rows]
  const widths = heads.map((_head, column) => lines.reduce((widest, row) => Math.max(widest, widthOf(row[column]?.text ?? '')), 0))
  const line = (row: readonly Cell[]): string => used.map((column, index) => {
    const { text, paint = same } = row[column] as Cell
    const padding = index === used.length - 1 ? 0 : (widths[column] as number) - widthOf(text)
    return (text === '' ? '' : paint(text)) + ' '.repeat(padding)
  }).join('  ').trimEnd()
  return lines.map((row) => line(row) + '\n').join('')
}

function same (text: string): string {
  return text
}
