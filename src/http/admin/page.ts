import { ControlError } from '../../control.js'

export const USUAL_PAGE = 100
export const LARGEST_PAGE = 1_000

export interface Page<T> {
  readonly items: readonly T[]
  /** Where the next page begins; null at the end. */
  readonly next: string | null
}

export interface PageAsked {
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

/**
 * One page of a list, in the order of its keys: what comes and goes between two pages moves no other entry.
 * @param keyOf unique within the list
 * @throws {ControlError} ERR_REQUEST_INVALID for a cursor that is none
 */
export function pageOf<T> (list: Iterable<T>, keyOf: (item: T) => string, { limit = USUAL_PAGE, cursor }: PageAsked): Page<T> {
  const after = cursor === undefined ? undefined : readCursor(cursor)
  const byKey = (a: T, b: T): number => keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0
  // One more than the page tells whether there is another page.
  const best = firstOf(after === undefined ? list : beyond(list, (item) => keyOf(item) > after), byKey, limit + 1)
  const items = best.slice(0, limit)
  return { items, next: best.length > limit ? cursorAt(keyOf(items.at(-1) as T)) : null }
}

/** The first of a list by an order. Holds at most twice as many beside the list, however long that is. */
export function firstOf<T> (list: Iterable<T>, order: (a: T, b: T) => number, most: number): T[] {
  let best: T[] = []
  let last: T | undefined
  for (const item of list) {
    if (last !== undefined && order(item, last) >= 0) continue
    best.push(item)
    if (best.length < 2 * most) continue
    best = best.sort(order).slice(0, most)
    last = best[most - 1]
  }
  return best.sort(order).slice(0, most)
}

function * beyond<T> (list: Iterable<T>, isBeyond: (item: T) => boolean): Generator<T> {
  for (const item of list) if (isBeyond(item)) yield item
}

function cursorAt (key: string): string {
  return Buffer.from(key).toString('base64url')
}

function readCursor (cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString()
  if (key === '' || cursorAt(key) !== cursor) throw new ControlError('ERR_REQUEST_INVALID', [{ path: 'cursor', message: 'expected the next_cursor of an answer before' }])
  return key
}
