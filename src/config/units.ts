import { ValueError } from './problem.js'

/** The longest delay that setTimeout takes, 24.8 days; above it Node fires at once. */
export const MAX_DURATION_MS = 2 ** 31 - 1

/** Seconds since the epoch: the last one of the year 9999, beyond which RFC 3339 has no dates. */
export const LATEST_SECOND = 253_402_300_799

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

export const DURATION_EXPECTED = 'expected a duration such as 250ms, 5s, 2m or 1h'
export const SIZE_EXPECTED = 'expected a size such as 64KiB or 4MiB'

/**
 * `250ms`, `5s`, `2m`, `1h`, `1d` → milliseconds. A bare number is refused, as nobody can tell seconds from
 * milliseconds by looking at it.
 * @throws {ValueError} for anything else, and above 24.8 days
 */
export function parseDuration (text: string): number {
  const match = /^([0-9]{1,15})(ms|s|m|h|d)$/.exec(text)
  if (match === null) throw new ValueError(DURATION_EXPECTED)
  const ms = Number(match[1]) * DURATION_UNITS[match[2] as keyof typeof DURATION_UNITS]
  if (ms > MAX_DURATION_MS) throw new ValueError('expected a duration of at most 24 days')
  return ms
}

/** As `parseDuration`, and more than nothing. */
export function parsePositiveDuration (text: string): number {
  const ms = parseDuration(text)
  if (ms === 0) throw new ValueError('expected a duration longer than zero')
  return ms
}

/** How far two clocks may differ: as `parseDuration`, at most 5 minutes, as an expired token is good for that much longer. */
export function parseClockTolerance (text: string): number {
  const ms = parseDuration(text)
  if (ms > 300_000) throw new ValueError('expected a duration of at most 5m')
  return ms
}

/** As `parseDuration`, for how long a JWT that is made here is good: whole seconds, as `exp` is, and time enough to be sent. */
export function parseLifetime (text: string): number {
  const ms = parseDuration(text)
  if (ms < 5_000 || ms % 1000 !== 0) throw new ValueError('expected a duration of at least 5s, in whole seconds')
  return ms
}

/**
 * `512B`, `64KiB`, `4MiB`, `1GiB` → bytes.
 * @throws {ValueError} for anything else, for zero, and above Number.MAX_SAFE_INTEGER
 */
export function parseSize (text: string): number {
  const match = /^([0-9]{1,16})(B|KiB|MiB|GiB)$/.exec(text)
  if (match === null) throw new ValueError(SIZE_EXPECTED)
  const bytes = Number(match[1]) * SIZE_UNITS[match[2] as keyof typeof SIZE_UNITS]
  if (bytes === 0) throw new ValueError('expected a size larger than zero')
  if (bytes > Number.MAX_SAFE_INTEGER) throw new ValueError('this size is too large')
  return bytes
}

/** A body is read whole into memory, so its limit has one too: at most 1 GiB. */
export function parseBodyLimit (text: string): number {
  const bytes = parseSize(text)
  if (bytes > SIZE_UNITS.GiB) throw new ValueError('expected a size of at most 1GiB')
  return bytes
}

/** Milliseconds → the shortest text that `parseDuration` reads back to the same number. */
export function formatDuration (ms: number): string {
  return inLargestUnit(ms, DURATION_UNITS)
}

/** Bytes → the shortest text that `parseSize` reads back to the same number. */
export function formatSize (bytes: number): string {
  return inLargestUnit(bytes, SIZE_UNITS)
}

function inLargestUnit (amount: number, units: Readonly<Record<string, number>>): string {
  const fitting = Object.entries(units).filter(([, factor]) => factor === 1 || (amount > 0 && amount % factor === 0))
  const [unit, factor] = fitting.at(-1) as [string, number]
  return `${amount / factor}${unit}`
}
