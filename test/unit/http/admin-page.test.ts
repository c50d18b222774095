import fc from 'fast-check'
import t from 'tap'
import { pageOf } from '../../../src/http/admin/page.js'

const key = (item: string): string => item

t.test('pages, one after the other, are the whole list in order', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.uniqueArray(fc.string({ minLength: 1, unit: 'binary' })), fc.integer({ min: 1, max: 7 }), (list, limit) => {
    const seen: string[] = []
    let cursor: string | undefined
    do {
      const { items, next } = pageOf(list, key, { limit, cursor })
      if (items.length > limit || (next !== null && items.length < limit)) return false
      seen.push(...items)
      cursor = next ?? undefined
    } while (cursor !== undefined)
    const sorted = [...list].sort((a, b) => a < b ? -1 : 1)
    return seen.length === sorted.length && seen.every((item, i) => item === sorted[i])
  })))
})

t.test('what comes or goes between two pages moves no other entry', async (t) => {
  const first = pageOf(['b', 'd', 'f', 'h'], key, { limit: 2 })
  t.same(first.items, ['b', 'd'])
  const second = pageOf(['a', 'd', 'e', 'f', 'h'], key, { limit: 2, cursor: first.next as string })
  t.same(second.items, ['e', 'f'])
})

t.test('a page has 100 entries unless another number is asked for', async (t) => {
  const list = Array.from({ length: 250 }, (_, i) => String(i).padStart(3, '0'))
  t.equal(pageOf(list, key, {}).items.length, 100)
  t.equal(pageOf(list.slice(0, 100), key, {}).next, null, 'and a last page says that it is one')
  t.same(pageOf([], key, {}), { items: [], next: null })
})

t.test('a cursor that is none is refused', async (t) => {
  for (const cursor of ['', '?', 'Zg==', 'Zh', 'Z', 'ÿ']) {
    t.throws(() => pageOf(['f'], key, { cursor }), { code: 'ERR_REQUEST_INVALID', details: [{ path: 'cursor' }] }, JSON.stringify(cursor))
  }
})
