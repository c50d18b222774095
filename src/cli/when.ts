const UNITS = [['s', 1_000, 90_000], ['min', 60_000, 90 * 60_000], ['h', 3_600_000, 48 * 3_600_000], ['d', 86_400_000, Infinity]] as const

/**
 * A moment as people say it: `in 4 min`, `2 h ago`.
 * @param date RFC 3339; anything else is given back as an empty text
 * @param now milliseconds since the epoch
 */
export function relative (date: unknown, now: number): string {
  const ms = typeof date === 'string' ? Date.parse(date) - now : NaN
  const away = Math.abs(ms)
  const unit = UNITS.find(([, , below]) => away < below)
  if (unit === undefined) return ''
  const amount = `${Math.round(away / unit[1])} ${unit[0]}`
  return ms >= 0 ? `in ${amount}` : `${amount} ago`
}
