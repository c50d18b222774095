import fc from 'fast-check'
import t from 'tap'
import { compileGlob, fitsAll } from '../../../src/policy/glob.js'

/** What a glob means, by its definition: a table of which beginnings of the name fit which beginnings of the pattern. */
function fits (pattern: string, name: string): boolean {
  const [signs, characters] = [[...pattern], [...name]]
  let row = [true, ...characters.map(() => false)]
  for (const sign of signs) {
    const next = [sign === '*' && row[0] === true]
    characters.forEach((character, i) => next.push(sign === '*' ? row[i + 1] === true || next[i] === true : row[i] === true && (sign === '?' || sign === character)))
    row = next
  }
  return row.at(-1) === true
}

t.test('T1: what a glob fits, and what it does not', async (t) => {
  const cases: Array<[pattern: string, good: string[], bad: string[]]> = [
    ['search', ['search'], ['Search', 'search_', '', ' search', 'searc']],
    ['search_*', ['search_', 'search_notes', 'search_*', 'search_\u{1f600}'], ['search', 'research_x', 'Search_notes']],
    ['*_read', ['_read', 'mail_read', '__read'], ['read', 'mail_read_', 'mail_Read']],
    ['a*a', ['aa', 'aba', 'aaa'], ['a', 'ab']],
    ['a?c', ['abc', 'a?c', 'a\u{1f600}c'], ['ac', 'abbc']],
    ['?', ['a', '\u{1f600}', 'ä'], ['', 'ab', 'a\u0308']],
    ['??*', ['ab', 'abc'], ['', 'a']],
    ['a.b', ['a.b'], ['axb']],
    ['[ab]+(c|d)\\', ['[ab]+(c|d)\\'], ['a', 'ac']],
    ['a**b', ['ab', 'axxb'], ['a', 'b']],
    ['*b*d*', ['bd', 'abcde'], ['db', 'b']],
    ['x*y?z*', ['xyaz', 'xyyyaz1', 'xyzy!zz'], ['xyz', 'yaz']],
  ]
  for (const [pattern, good, bad] of cases) {
    for (const name of good) t.ok(compileGlob(pattern)(name), `${pattern} fits ${name}`)
    for (const name of bad) t.notOk(compileGlob(pattern)(name), `${pattern} does not fit ${name}`)
  }
  t.same(['*', '**', '?', '', 'a*', '*a'].map(fitsAll), [true, true, false, false, false, false])
})

t.test('T1: a glob means what its definition says, at any length', async (t) => {
  const character = fc.constantFrom('a', 'b', '_', 'ä', '\u{1f600}')
  const sign = fc.oneof({ weight: 3, arbitrary: character }, fc.constantFrom('*', '?'))
  const glob = fc.array(sign, { maxLength: 90, size: 'max' }).map((signs) => signs.join(''))
  // Names that are likely to fit: each sign of the pattern as something it stands for.
  const pair = glob.chain((pattern) => fc.tuple(fc.constant(pattern), fc.oneof(
    fc.array(character, { maxLength: 120, size: 'max' }).map((characters) => characters.join('')),
    fc.tuple(...[...pattern].map((each) => each === '*' ? fc.array(character, { maxLength: 4 }).map((some) => some.join('')) : each === '?' ? character : fc.constant(each))).map((parts) => parts.join(''))
  )))
  fc.assert(fc.property(pair, ([pattern, name]) => compileGlob(pattern)(name) === fits(pattern, name)), { numRuns: 3_000 })
  t.pass()
})

t.test('T1: a pattern and a name thought up to be slow are matched like any other', async (t) => {
  const matches = compileGlob('*a?'.repeat(85) + 'b')
  const name = 'a'.repeat(512)
  for (let n = 0; n < 200; n++) t.notOk(matches(name) && n === 0)
})
