import { ValetError } from '../errors.js'
import { StateError } from '../state/store.js'
import { GrantError } from './grants/grant.js'

/** Milliseconds: the wait after the first failure, doubled for each further one, up to the longest. */
const FIRST_WAIT = 250
const LONGEST_WAIT = 60_000
/** A source that can be read again costs little, and whoever has just put a new token there does not want to wait. */
const LONGEST_WAIT_UNCHANGED = 10_000

/** The memory of a renewal that failed: until `retryAt` nobody asks the issuer again, however many callers there are. */
export interface Failure {
  readonly error: GrantError
  /** Failures in a row, this one included. */
  readonly count: number
  /** Milliseconds on the monotonic scale: were it wall-clock time, a clock set back would stop all renewals. */
  readonly retryAt: number
}

/**
 * Doubles the wait with each failure and takes up to a fifth off it at random. The issuer's own `Retry-After` counts
 * where it asks for more; to that a fifth is added at most, or all who were told the same would come back at once.
 * @param now monotonic milliseconds
 * @param random 0 ≤ x < 1
 * @param untilDead milliseconds for which the token is good that the source gives again and again: with its end another is to
 *   be had, from many an issuer that keeps what it has issued
 */
export function nextFailure (before: Failure | undefined, error: GrantError, now: number, random: number, untilDead = Infinity): Failure {
  const unchanged = error.kind === 'unchanged'
  // Until then it has answered as it should, so a failure after that is the first.
  const count = (!unchanged && before?.error.kind === 'unchanged' ? 0 : before?.count ?? 0) + 1
  const longest = unchanged ? Math.min(LONGEST_WAIT_UNCHANGED, Math.max(FIRST_WAIT, untilDead)) : LONGEST_WAIT
  const wait = Math.min(longest, FIRST_WAIT * 2 ** (count - 1)) * (1 - 0.2 * random)
  return { error, count, retryAt: now + Math.max(wait, (error.retryAfter ?? 0) * (1 + 0.2 * random)) }
}

/**
 * Milliseconds until a token that an upstream refused may be renewed again, where the ones before were refused as well:
 * an upstream that refuses everything must not cost a token request a call. The first two cost nothing, since one may
 * have expired and the other may not have reached the upstream's keys yet.
 */
export function barrenWait (count: number): number {
  return count < 2 ? 0 : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (count - 1))
}

/** What an unreadable store says is as good a reason as any; what nobody foresaw is not repeated, as it may quote anything. */
export function asGrantError (thrown: unknown): GrantError {
  if (thrown instanceof GrantError) return thrown
  return new GrantError('unavailable', thrown instanceof StateError ? thrown.message : 'the renewal failed inside mcp-valet')
}

/** @param wait milliseconds until it is worth another try */
export function unavailable (cause: GrantError, wait: number): ValetError {
  return new ValetError('ERR_CREDENTIAL_UNAVAILABLE', { cause, retryAfter: Math.max(1, Math.ceil(wait / 1000)) })
}
