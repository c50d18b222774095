import t from 'tap'
import { table } from '../../../src/cli/table.js'
import { createPalette, createTerminal } from '../../../src/cli/terminal.js'
import { relative } from '../../../src/cli/when.js'

const cells = (...texts: string[]) => texts.map((text) => ({ text }))

t.test('columns are as wide as their widest cell, an empty one is left out', async (t) => {
  const plain = createPalette(false)
  t.equal(table(['A', 'BB', 'C', 'D'], [cells('1', '', '', 'x'), cells('222', '', '日本', 'y'), cells('', '', '', '')], plain),
    'A    C     D\n1          x\n222  日本  y\n\n')
  t.equal(table(['A'], [], plain), '\n')
})

t.test('colours do not count as width, and nothing is painted where nobody sees it', async (t) => {
  const colour = createPalette(true)
  const rows = [[{ text: 'ok', paint: colour.good }, { text: 'x' }], [{ text: 'worse', paint: colour.bad }, { text: 'y' }]]
  t.equal(table(['S', 'T'], rows, colour), '\u001b[2mS\u001b[22m      \u001b[2mT\u001b[22m\n\u001b[32mok\u001b[39m     x\n\u001b[31mworse\u001b[39m  y\n')
})

t.test('a terminal is coloured unless somebody wants it plain', async (t) => {
  const written: string[] = []
  const stream = (isTTY: boolean) => ({ write: (text: string) => written.push(text), isTTY })
  const coloured = (isTTY: boolean, env: NodeJS.ProcessEnv): boolean => createTerminal({ stdout: stream(isTTY), stderr: stream(true) }, env).palette.bad('x') !== 'x'
  t.ok(coloured(true, {}))
  t.ok(coloured(true, { NO_COLOR: '' }))
  t.notOk(coloured(true, { NO_COLOR: '1' }))
  t.notOk(coloured(true, { TERM: 'dumb' }))
  t.notOk(coloured(false, {}))
  const terminal = createTerminal({ stdout: stream(false), stderr: stream(true) }, {})
  terminal.out('a')
  terminal.err('b')
  t.same([written, terminal.isTerminal], [['a', 'b'], false])
})

t.test('a moment is told as people say it', async (t) => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  const at = (ms: number): string => relative(new Date(now + ms).toISOString(), now)
  t.same([0, 12_000, 89_999, 90_000, 240_000, 5_400_000, 7_200_000, 172_800_000].map(at), ['in 0 s', 'in 12 s', 'in 90 s', 'in 2 min', 'in 4 min', 'in 2 h', 'in 2 h', 'in 2 d'])
  t.same([-5_000, -3_600_000, -86_400_000 * 30].map(at), ['5 s ago', '60 min ago', '30 d ago'])
  t.same([null, undefined, '', 'never', 7, {}].map((date) => relative(date, now)), ['', '', '', '', '', ''])
})
