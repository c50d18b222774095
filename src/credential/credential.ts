import { inspect } from 'node:util'
import type { Secret } from '../secret.js'

/**
 * One token that an upstream accepts, as one exchange with its issuer gave it.
 *
 * The generation counts the exchanges of one principal at one upstream. It is what tells a caller whose token was
 * refused whether somebody has renewed it since, without comparing tokens.
 */
export class Credential {
  readonly token: Secret
  readonly generation: number
  /** Milliseconds since the epoch; the moment the request for it was sent, so that expiry is never counted too late. */
  readonly obtainedAt: number
  /** Milliseconds since the epoch; undefined where nobody said, and then only a 401 renews it. */
  readonly expiresAt: number | undefined

  constructor (token: Secret, generation: number, obtainedAt: number, expiresAt: number | undefined) {
    this.token = token
    this.generation = generation
    this.obtainedAt = obtainedAt
    this.expiresAt = expiresAt
  }

  get fingerprint (): string {
    return this.token.fingerprint
  }

  toString (): string {
    return `[credential ${this.fingerprint} generation ${this.generation}]`
  }

  toJSON (): string {
    return this.toString()
  }

  [inspect.custom] (): string {
    return this.toString()
  }
}

export type RefreshTrigger = 'ahead' | 'expired' | 'rejected' | 'manual'

/** How a credential stands, for the status table and the gauge. */
export type CredentialState = 'valid' | 'expiring' | 'expired' | 'failed' | 'revoked'

/** Where a call gets its credential, and a better one when that was refused. */
export interface CredentialSource {
  /** The credential to send now, or undefined where it must be renewed first. Costs nothing: it is asked on each call. */
  current (): Credential | undefined
  /**
   * The credential to send, waiting for a renewal where that is needed.
   * @param deadline milliseconds on the clock's monotonic scale, after which waiting is given up
   * @throws {ValetError} ERR_CREDENTIAL_UNAVAILABLE or ERR_CREDENTIAL_REVOKED
   */
  usable (deadline: number): Promise<Credential>
  /**
   * A credential of a later generation than the one that was refused: the one that is there already, or a renewed one.
   * Gives the refused one back where its source has none other, or where renewing has brought nothing but refused ones
   * so far and it is too early to try again.
   * @throws {ValetError} ERR_CREDENTIAL_UNAVAILABLE or ERR_CREDENTIAL_REVOKED
   */
  renew (refused: Credential, trigger: RefreshTrigger, deadline: number): Promise<Credential>
  /** Says that an upstream took this credential. */
  accepted (credential: Credential): void
  /** Says, and remembers, that a plain 403 came for this generation; true the first time. */
  firstDenial (credential: Credential): boolean
  /**
   * Whether to renew this credential where an answer with status 200 says that it is refused. Not where that was got for
   * this very call (`fresh`), nor again for a later one: then the refusal is meant, and must not cost a renewal a call.
   */
  worthRenewing (credential: Credential, fresh: boolean): boolean
}
