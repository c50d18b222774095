import fc from 'fast-check'
import t from 'tap'
import { printable, printableJson, widthOf } from '../../../src/cli/printable.js'

t.test('a text that can be seen stays as it is', async (t) => {
  for (const text of ['', 'alice', 'a b', 'ümlaut@example.com', '日本', 'DOMAIN\\user', '😀']) t.equal(printable(text), text)
  t.equal(printable(undefined), 'undefined')
  t.equal(printable(7), '7')
})

t.test('what could harm a terminal is shown escaped', async (t) => {
  for (const [text, shown] of [
    ['a\u001b[31mb', 'a\\u{1b}[31mb'], ['a\u001b]0;title\u0007', 'a\\u{1b}]0;title\\u{7}'], ['a\r\nb', 'a\\u{d}\\u{a}b'], ['\u009b31m', '\\u{9b}31m'],
    ['abc\u202etxt.exe', 'abc\\u{202e}txt.exe'], ['\u2066a', '\\u{2066}a'], ['a\u200bb', 'a\\u{200b}b'], ['a\u2028b', 'a\\u{2028}b'], ['\ud800', '\\u{d800}'], ['\u{e0041}', '\\u{e0041}'], ['\0', '\\u{0}'],
  ] as const) t.equal(printable(text), shown)
})

t.test('letters that run from right to left are kept apart from what stands beside them', async (t) => {
  t.equal(printable('דוד'), '\u2068דוד\u2069')
  t.equal(printable('عمر 1'), '\u2068عمر 1\u2069')
  t.equal(widthOf(printable('דוד')), 3)
})

t.test('a long text is cut, a character at a time', async (t) => {
  t.equal(printable('x'.repeat(48)), 'x'.repeat(48))
  t.equal(printable('x'.repeat(49)), 'x'.repeat(47) + '…')
  t.equal(printable('😀'.repeat(5), 4), '😀😀😀…')
  t.equal(printable('x'.repeat(10_000_000), 10).length, 10)
})

t.test('whatever the text, nothing in it is a control or a format character', async (t) => {
  t.doesNotThrow(() => fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => {
    const shown = printable(text)
    return !/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u2068\u2069])\p{Cf}/u.test(shown) && [...shown].length <= 48 * 10 + 2
  })))
})

t.test('widths are those of a terminal', async (t) => {
  t.same(['abc', '日本', '😀', 'e\u0301', '한', ''].map(widthOf), [3, 4, 2, 1, 2, 0])
})

t.test('JSON has the same value, and what cannot be seen escaped', async (t) => {
  const value = { name: 'a\u202e\u001b\u009b\u2028\u{e0041}b', list: ['דוד', 'é'], n: 1 }
  for (const indent of [undefined, 2]) {
    const text = printableJson(value, indent)
    t.same(JSON.parse(text), value)
    t.notMatch(text, /[\p{Cf}\u009b\u2028]/u)
  }
  t.match(printableJson(value, 2), '\n  "name"')
})
