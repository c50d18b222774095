import fc from 'fast-check'
import t from 'tap'
import {
  formatDuration, formatSize, MAX_DURATION_MS, parseBodyLimit, parseDuration, parsePositiveDuration, parseSize,
} from '../../../src/config/units.js'

t.test('durations are milliseconds', async (t) => {
  t.equal(parseDuration('250ms'), 250)
  t.equal(parseDuration('5s'), 5_000)
  t.equal(parseDuration('2m'), 120_000)
  t.equal(parseDuration('1h'), 3_600_000)
  t.equal(parseDuration('1d'), 86_400_000)
  t.equal(parseDuration('0s'), 0)
})

t.test('what is no duration is refused with what is expected, and not repeated', async (t) => {
  for (const text of ['5', '', 's', '1.5s', '-1s', ' 5s', '5 s', '5S', '1w', '1e3ms', '5s\n', '9'.repeat(16) + 'ms']) {
    t.throws(() => parseDuration(text), { message: 'expected a duration such as 250ms, 5s, 2m or 1h' }, JSON.stringify(text))
  }
})

t.test('a duration fits a timer', async (t) => {
  t.equal(parseDuration(`${MAX_DURATION_MS}ms`), 2 ** 31 - 1)
  t.throws(() => parseDuration(`${MAX_DURATION_MS + 1}ms`), { message: /at most 24 days/ })
  t.throws(() => parseDuration('25d'), { message: /at most 24 days/ })
  t.throws(() => parsePositiveDuration('0ms'), { message: /longer than zero/ })
  t.equal(parsePositiveDuration('1ms'), 1)
})

t.test('sizes are bytes', async (t) => {
  t.equal(parseSize('1B'), 1)
  t.equal(parseSize('64KiB'), 65_536)
  t.equal(parseSize('4MiB'), 4_194_304)
  t.equal(parseSize('1GiB'), 1_073_741_824)
  for (const text of ['5', '5KB', '5k', '', 'KiB', '1.5MiB', '4 MiB']) {
    t.throws(() => parseSize(text), { message: 'expected a size such as 64KiB or 4MiB' }, text)
  }
  t.throws(() => parseSize('0B'), { message: /larger than zero/ })
  t.throws(() => parseSize('9007199254740992B'), { message: /too large/ })
  t.throws(() => parseSize('9999999999GiB'), { message: /too large/ })
  t.equal(parseBodyLimit('1GiB'), 1_073_741_824)
  t.throws(() => parseBodyLimit('1073741825B'), { message: /at most 1GiB/ })
})

t.test('what is formatted reads back, in the largest unit', async (t) => {
  t.equal(formatDuration(120_000), '2m')
  t.equal(formatDuration(1_500), '1500ms')
  t.equal(formatDuration(0), '0ms')
  t.equal(formatSize(4_194_304), '4MiB')
  t.equal(formatSize(1_025), '1025B')
  fc.assert(fc.property(fc.nat(MAX_DURATION_MS), (ms) => parseDuration(formatDuration(ms)) === ms))
  fc.assert(fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (bytes) => parseSize(formatSize(bytes)) === bytes))
})
