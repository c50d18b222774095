import { isBearerToken, isRefreshToken, LONGEST_TOKEN } from '../../config/bearer-token.js'
import type { CredentialConfig } from '../../config/config.js'
import { Secret } from '../../secret.js'

/** What a principal holds at one upstream between two exchanges. */
export interface Held {
  readonly accessToken: Secret | undefined
  readonly refreshToken: Secret | undefined
  /** When the access token expires where it does not say so itself, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
}

/** Of a grant that needs nothing to begin with. */
export const NOTHING_HELD: Held = { accessToken: undefined, refreshToken: undefined }

/** What one exchange gave. Times in milliseconds since the epoch. */
export interface Issued {
  readonly accessToken: Secret
  /** Undefined where the issuer named none: the one before stays good (RFC 6749 §6). */
  readonly refreshToken: Secret | undefined
  readonly obtainedAt: number
  readonly expiresAt: number | undefined
}

/** One way of getting a token: a credential type of the config. */
export interface Grant {
  readonly type: CredentialConfig['type']
  /** Whether what it gives must outlive the process: a refresh token that rotates must, a token that can be read again need not. */
  readonly kept: boolean
  /**
   * What a token is good for, as far as the config says it: issuer, client, scope, resource, what it is asked for with. A token that was kept under
   * other terms is not sent any more; no secret.
   */
  readonly terms: string
  /** Where it asks, so that principals who ask at different places need not queue up behind one another. */
  readonly asks: string
  /** What the config gives to begin with; read again each time, since a person may have put something new there. */
  seed (): Promise<Held>
  /**
   * Asks for a new token.
   * @param mayAsk throws where it is not ours to ask any more; called right before what cannot be taken back
   * @throws {GrantError}
   */
  exchange (held: Held, mayAsk?: () => void): Promise<Issued>
}

/** Milliseconds; a mistake of whoever asks for more must not put a principal out of service for a day. */
export const LONGEST_RETRY_AFTER = 5 * 60_000

export type GrantErrorKind = 'revoked' | 'unchanged' | 'unavailable'

/**
 * Why an exchange gave nothing. `revoked`: the issuer says that the grant is over (`invalid_grant`), so asking again is
 * useless and may be taken for an attack. `unchanged`: the source still has the token that is there already.
 * `unavailable`: anything else; what is held is kept and asked again later.
 *
 * The reason is for the operator's log. It is made of known words and numbers only, since what a token endpoint sends
 * may hold a token.
 */
export class GrantError extends Error {
  readonly kind: GrantErrorKind
  readonly reason: string
  /** The issuer's own wish, milliseconds from now: 0 to `LONGEST_RETRY_AFTER`; what was no such number counts as unsaid. */
  readonly retryAfter: number | undefined
  /** Said before, and only remembered now: nobody was asked again, so there is nothing new to report. */
  readonly remembered: boolean
  /** Nothing but a person, or a caller with something to offer, can bring about what is missing: it is not tried again by the clock. */
  readonly dormant: boolean
  /**
   * The refresh token of an answer that was of no use otherwise. The issuer may have ended the one before with it, so it
   * must be kept, or the grant would be lost.
   */
  readonly rotated: Secret | undefined
  /** Nobody answers where it was asked, so that may have moved. */
  readonly gone: boolean

  constructor (kind: GrantErrorKind, reason: string, more: { retryAfter?: number | undefined, remembered?: boolean, dormant?: boolean, rotated?: Secret | undefined, gone?: boolean } = {}) {
    super(reason)
    this.name = 'GrantError'
    this.kind = kind
    this.reason = reason
    this.retryAfter = waitOf(more.retryAfter)
    this.remembered = more.remembered === true
    this.dormant = more.dormant === true
    this.rotated = more.rotated
    this.gone = more.gone === true
  }
}

/** The code of others gives it, too: a NaN would make every wait end at once, for ever. */
function waitOf (ms: number | undefined): number | undefined {
  return Number.isFinite(ms) && (ms as number) >= 0 ? Math.min(ms as number, LONGEST_RETRY_AFTER) : undefined
}

/**
 * Takes an access token in, wherever it came from.
 * @throws {GrantError} for anything that could not stand in a header as a bearer token
 */
export function accessToken (text: unknown, from: string): Secret {
  if (isBearerToken(text)) return new Secret(text)
  throw new GrantError('unavailable', `${from} gave no usable token: it must be 1 to ${LONGEST_TOKEN} characters of A-Z a-z 0-9 - . _ ~ + / = (RFC 6750)`)
}

/** @throws {GrantError} for anything that RFC 6749 would not call a refresh token */
export function refreshToken (text: unknown, from: string): Secret {
  if (isRefreshToken(text)) return new Secret(text)
  throw new GrantError('unavailable', `${from} gave no usable refresh token: it must be 1 to ${LONGEST_TOKEN} printable characters (RFC 6749)`)
}

/** The refresh token of an answer, if it has a usable one. */
export function rotatedIn (value: unknown): Secret | undefined {
  try {
    return refreshToken(value, '')
  } catch {
    return undefined
  }
}

/** An optional secret of the config as a token; undefined where the config names none. */
export async function seedToken (
  ref: { read (): Promise<Secret>, source: string } | undefined,
  check: (text: unknown, from: string) => Secret
): Promise<Secret | undefined> {
  if (ref === undefined) return undefined
  return check((await readSecret(ref)).reveal(), ref.source)
}

/** @throws {GrantError} that says which secret could not be read, and why */
export async function readSecret (ref: { read (): Promise<Secret> }): Promise<Secret> {
  try {
    return await ref.read()
  } catch (error) {
    // A reference's errors name places, never values.
    throw new GrantError('unavailable', error instanceof Error ? error.message : 'a secret could not be read')
  }
}
