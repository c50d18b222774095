import { ControlError } from '../../control.js'

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
/** Milliseconds. */
export const LONGEST_TTL = 3650 * UNITS.d

export const TTL_EXPECTED = 'expected a duration such as 15m, 2h or 30d, or a number of seconds; from 1s to 3650d'

/**
 * How long a session shall live, as the admin API takes it: `15m`, `2h`, `30d`, or a number, which are seconds as in
 * OAuth's `expires_in`. Longer than the durations of the config may be, since no timer waits for its end.
 * @returns milliseconds, 1 s to 3650 days
 * @throws {ControlError} ERR_REQUEST_INVALID
 */
export function readTtl (given: string | number): number {
  const [, amount, unit] = /^([0-9]{1,9})([smhd])$/.exec(typeof given === 'number' ? `${given}s` : given) ?? []
  const ms = Number(amount) * UNITS[unit as keyof typeof UNITS]
  if (!(ms >= UNITS.s && ms <= LONGEST_TTL)) throw new ControlError('ERR_REQUEST_INVALID', [{ path: 'ttl', message: TTL_EXPECTED }])
  return ms
}
