import t from 'tap'

const { digits, duration, EventReader, History, percent, quantile, relative, shown, time, together } =
  await import(new URL('../../../src/http/admin/page/reckon.js', import.meta.url).href)

t.test('a text of somebody else\'s is on one line, bounded, and hides nothing', async (t) => {
  t.equal(shown('alice'), 'alice')
  t.equal(shown('a\u202eb\u0000\u2028\n'), 'a\\u{202e}b\\u{0}\\u{2028}\\u{a}')
  t.equal([...shown('x'.repeat(4096))].length, 80)
  t.equal(shown('\u{1f600}'.repeat(5), 3), '\u{1f600}\u{1f600}…')
  t.match(shown('\ud800'), '\\u{d800}')
})

t.test('times are told as people tell them', async (t) => {
  for (const [seconds, text] of [[0, '0 s'], [119.9, '119 s'], [120, '2 min'], [7199, '119 min'], [7200, '2 h'], [12_000, '3 h 20 min'], [172_800, '2 d']]) t.equal(duration(seconds), text)
  t.equal(relative(10_500, 0), 'in 10 s')
  t.equal(relative(0, 61_000), '61 s ago')
  t.equal(relative(500, 0), 'now')
  for (const [seconds, text] of [[0.00005, '0.05 ms'], [0.0214, '21 ms'], [0.1, '100 ms'], [1.234, '1.2 s'], [30, '30 s'], [0, '0 ms'], [1e-9, '< 0.01 ms']]) t.equal(time(seconds), text)
  t.equal(percent(0.0151), '1.5 %')
  t.equal(digits(9.99), '10')
})

t.test('a quantile is where Prometheus has it', async (t) => {
  const all = { bounds: [1, 2, 4], counts: [10, 0, 10, 0], sum: 0, count: 20 }
  t.equal(quantile(all, 0.5), 1)
  t.equal(quantile(all, 0.75), 3)
  t.equal(quantile({ ...all, counts: [0, 0, 0, 20] }, 0.5), Infinity)
  t.equal(quantile({ bounds: [], counts: [], count: 0 }, 0.5), undefined)
  const none = { bounds: [], counts: [], sum: 0, count: 0 }
  t.same(together(none, all), all)
  t.same(together(all, all), { bounds: [1, 2, 4], counts: [20, 0, 20, 0], sum: 0, count: 40 })
})

t.test('a rate is over the last seconds, and none comes from one look', async (t) => {
  const history = new History(10)
  const rate = (): number | undefined => history.rate(({ n }: { n?: number }) => n)
  t.equal(rate(), undefined)
  history.add({ elapsed: 100, n: undefined })
  t.equal(rate(), undefined)
  for (let second = 1; second <= 30; second++) history.add({ elapsed: 100 + second, n: second * 5 })
  t.equal(rate(), 5)
  history.add({ elapsed: 131, n: 0 })
  t.equal(rate(), 0, 'a count that fell is another process\'s')
  history.forget()
  t.equal(rate(), undefined)
})

t.test('events are read whole, however they are cut, line separators in them too', async (t) => {
  const text = `retry: 2000\n\nevent: figures\ndata: ${JSON.stringify({ name: 'é\u2028\u2029' })}\n\nevent: sessions\ndata: []\n\n`
  for (let cut = 0; cut <= text.length; cut++) {
    const reader = new EventReader()
    t.same([...reader.read(text.slice(0, cut)), ...reader.read(text.slice(cut))], [{ name: 'figures', data: { name: 'é\u2028\u2029' } }, { name: 'sessions', data: [] }])
  }
})
