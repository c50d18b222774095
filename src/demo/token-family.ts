import { createHmac, randomBytes } from 'node:crypto'
import { sameSecret } from './client-auth.js'
import { OAuthError } from './oauth-error.js'

/** What a login grants, and what every refresh of it grants again. */
export interface Grant {
  readonly subject: string
  readonly clientId: string
  readonly scope: string
}

/** All refresh tokens that follow from one login; only the newest generation is good. */
interface Family {
  readonly id: string
  readonly grant: Grant
  generation: number
  revoked: boolean
  /** Milliseconds since the epoch; each rotation moves it on. */
  expiresAt: number
  rotatedAt: number
}

export interface TokenFamiliesOptions {
  /** Milliseconds in which the token just rotated out still gives its own successor. */
  readonly graceMs: number
  /** Milliseconds without a refresh after which a family is forgotten. */
  readonly idleMs: number
  readonly now: () => number
  /** Families kept; beyond it the one that has been idle longest is dropped. */
  readonly limit?: number
}

/**
 * Rotating refresh tokens with reuse detection (RFC 9700 §4.14.2).
 *
 * A token is `rt_<family>.<generation>.<mac>`: the MAC lets any generation be recognised as once issued without keeping
 * it, so a family costs the same after one rotation as after a million.
 */
export class TokenFamilies {
  readonly #families = new Map<string, Family>()
  readonly #key = randomBytes(32)
  readonly #options: Required<TokenFamiliesOptions>

  constructor (options: TokenFamiliesOptions) {
    this.#options = { limit: 10_000, ...options }
  }

  /** Opens a family. @returns its first refresh token */
  open (grant: Grant): string {
    const family: Family = { id: randomBytes(12).toString('base64url'), grant, generation: 0, revoked: false, expiresAt: 0, rotatedAt: 0 }
    this.#touch(family)
    this.#drop()
    return this.#token(family)
  }

  /**
   * Spends a refresh token.
   *
   * @returns the grant, the successor, and a name for this step that is equal for every call that gives that successor
   * @throws {OAuthError} `invalid_grant`: unknown, expired, another client's, revoked, or used before; the last one
   * revokes the family
   */
  rotate (token: string, clientId: string): { grant: Grant, refreshToken: string, step: string } {
    const { family, generation } = this.#find(token)
    if (family.grant.clientId !== clientId) throw invalidGrant('the refresh token was issued to another client')
    if (family.revoked) throw invalidGrant('the refresh token family is revoked')

    if (generation === family.generation) {
      family.generation++
      family.rotatedAt = this.#options.now()
      this.#touch(family)
    } else if (generation !== family.generation - 1 || this.#options.now() - family.rotatedAt >= this.#options.graceMs) {
      family.revoked = true
      throw invalidGrant('the refresh token was used before: its family is now revoked')
    }
    return { grant: family.grant, refreshToken: this.#token(family), step: `${family.id}.${family.generation}` }
  }

  /** Ends every family of a subject, as a person who logs out everywhere does. */
  revoke (subject: string): void {
    for (const family of this.#families.values()) {
      if (family.grant.subject === subject) family.revoked = true
    }
  }

  get counts (): { active: number, revoked: number } {
    this.#drop()
    const revoked = [...this.#families.values()].filter((family) => family.revoked).length
    return { active: this.#families.size - revoked, revoked }
  }

  #find (token: string): { family: Family, generation: number } {
    this.#drop()
    const [, id, generation] = /^rt_([\w-]+)\.(\d+)\./.exec(token) ?? []
    const family = this.#families.get(id ?? '')
    if (family === undefined || !sameSecret(token, this.#token({ id: family.id, generation: Number(generation) }))) {
      throw invalidGrant('the refresh token is unknown or has expired')
    }
    return { family, generation: Number(generation) }
  }

  #token ({ id, generation }: { id: string, generation: number }): string {
    const mac = createHmac('sha256', this.#key).update(`${id}.${generation}`).digest('base64url')
    return `rt_${id}.${generation}.${mac}`
  }

  // The map is kept in the order of expiry, so dropping looks at the first entries only.
  #touch (family: Family): void {
    family.expiresAt = this.#options.now() + this.#options.idleMs
    this.#families.delete(family.id)
    this.#families.set(family.id, family)
  }

  #drop (): void {
    for (const family of this.#families.values()) {
      if (family.expiresAt > this.#options.now() && this.#families.size <= this.#options.limit) return
      this.#families.delete(family.id)
    }
  }
}

function invalidGrant (description: string): OAuthError {
  return new OAuthError('invalid_grant', description)
}
