import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { pause, type Clock } from '../clock.js'
import type { JwtCallersConfig } from '../config/jwt-config.js'
import type { Caller } from '../exchange.js'
import { Secret } from '../secret.js'
import type { Emit } from '../telemetry/events.js'
import type { Identity, PendingIdentity, Refused } from './identify.js'
import type { Claimed, JwtRefused } from './jwt-claims.js'
import { IssuerKeys, IssuerUnavailable } from './jwt-keys.js'
import { mentionsIssuer, unverifiedIssuer } from './jwt-shape.js'
import { verifier, type Verifier } from './jwt-verify.js'

/** Callers that are remembered, and the characters that their tokens have together. */
const MOST_CALLERS = 10_000
const MOST_CHARACTERS = 32 * 1024 * 1024
/** Milliseconds after which a token is verified anew, since its key may have been withdrawn. */
const FRESH = 5 * 60_000
/** Milliseconds that a known caller waits for that, and for which it is left alone where that was in vain. */
const PATIENCE = 1_000
const LEFT_ALONE = 10_000

const EXPIRED: Refused = { kind: 'refused', code: 'ERR_SESSION_EXPIRED', reason: 'it has expired (exp)' }

/** A token that was verified, as the caller it stands for. */
interface Known {
  readonly identity: Identity
  /** Milliseconds since the epoch: `exp`, and the tolerance for clocks that differ. */
  readonly goodUntil: number
  /** Monotonic milliseconds. */
  freshUntil: number
}

/**
 * Whom a JWT of the configured issuer stands for. Its signature is checked once; after that its digest stands for the
 * verdict, or the connection that has shown it. Whether it has expired is looked at each time.
 */
export class JwtCallers {
  readonly #config: JwtCallersConfig
  readonly #clock: Clock
  readonly #keys: IssuerKeys
  readonly #verify: Verifier
  readonly #known: LRUCache<string, Known>
  readonly #shown = new WeakMap<object, { readonly token: string, readonly known: Known }>()
  /** Verifications under way, by digest: a hundred first calls with one token cost one. */
  readonly #underWay = new Map<string, Promise<Known | Refused>>()

  constructor (config: JwtCallersConfig, clock: Clock, emit: Emit, most = MOST_CALLERS) {
    this.#known = new LRUCache({ max: most, maxSize: MOST_CHARACTERS })
    this.#config = config
    this.#clock = clock
    this.#keys = new IssuerKeys(config, clock, (reason, count) => {
      // Of an outage of hours the log tells the 1st, 2nd, 4th, 8th … failure.
      if (Number.isInteger(Math.log2(count))) emit({ event: 'warning', reason: `the keys of the issuer that callers.jwt names cannot be had: ${reason}` })
    })
    this.#verify = verifier(config, this.#keys, clock)
  }

  /** Gets the keys before anybody needs them, and says early where that fails. Never throws. */
  async warm (): Promise<void> {
    await this.#keys.current().catch(() => {})
  }

  /** Who shows this token. @param connection that it came by: that it has shown the token before spares the digest */
  find (token: string, connection?: object): Identity | PendingIdentity {
    const shown = connection === undefined ? undefined : this.#shown.get(connection)
    const earlier = shown?.token === token ? shown.known : undefined
    const there = earlier === undefined ? undefined : this.#current(earlier)
    if (there !== undefined) return there

    const digest = hash('sha256', token, 'base64url')
    const known = this.#known.get(digest) ?? earlier
    if (known !== undefined && connection !== undefined) this.#shown.set(connection, { token, known })
    if (known === undefined) return { kind: 'pending', identity: this.#meet(token, digest, connection) }
    return this.#current(known) ?? { kind: 'pending', identity: this.#checkAgain(token, digest, known) }
  }

  /** Whether a token says that it is of the configured issuer. Nobody has checked that: it decides whose it may be, no more. */
  claims (token: string): boolean {
    return unverifiedIssuer(token) === this.#config.issuer
  }

  /** Whether there is a token of the configured issuer in a header's value, in whatever form. */
  isIn (value: string): boolean {
    return mentionsIssuer(value, this.#config.issuer)
  }

  /** Undefined where it must be verified anew. */
  #current (known: Known): Identity | undefined {
    if (this.#clock.now() >= known.goodUntil) return EXPIRED
    return this.#clock.elapsed() < known.freshUntil ? known.identity : undefined
  }

  async #meet (token: string, digest: string, connection: object | undefined): Promise<Identity> {
    const found = await this.#verifyOnce(token, digest)
    if ('kind' in found) return found
    if (connection !== undefined) this.#shown.set(connection, { token, known: found })
    return this.#current(found) ?? found.identity
  }

  /** Whoever was let in before is let in for as long as its token lives, unless its issuer's keys say otherwise. */
  async #checkAgain (token: string, digest: string, known: Known): Promise<Identity> {
    const done = new AbortController()
    const found = await Promise.race([this.#verifyOnce(token, digest), pause(this.#clock, PATIENCE, done.signal)])
    done.abort()
    if (found !== undefined && 'kind' in found && found.code !== 'ERR_ISSUER_UNAVAILABLE') return found
    // Verified anew, it is fresh by now; where nobody could tell, it is not asked for a while.
    known.freshUntil = Math.max(known.freshUntil, this.#clock.elapsed() + LEFT_ALONE)
    return this.#current(known) ?? known.identity
  }

  async #verifyOnce (token: string, digest: string): Promise<Known | Refused> {
    const underWay = this.#underWay.get(digest)
    if (underWay !== undefined) return await underWay
    const verdict = this.#judge(token, digest).finally(() => this.#underWay.delete(digest))
    this.#underWay.set(digest, verdict)
    return await verdict
  }

  async #judge (token: string, digest: string): Promise<Known | Refused> {
    try {
      return this.#remember(token, digest, await this.#verify(token))
    } catch (error) {
      if (error instanceof IssuerUnavailable) return { kind: 'refused', code: 'ERR_ISSUER_UNAVAILABLE', reason: error.reason, retryAfter: error.retryAfter }
      this.#known.delete(digest)
      const { code, reason } = error as JwtRefused
      return { kind: 'refused', code, reason }
    }
  }

  #remember (token: string, digest: string, claimed: Claimed): Known {
    const freshUntil = this.#clock.elapsed() + FRESH
    const goodUntil = claimed.expiresAt + this.#config.clockToleranceMs
    const known = this.#known.get(digest) ?? { identity: { kind: 'caller', caller: callerOf(token, digest, claimed, goodUntil) }, goodUntil, freshUntil }
    // Connections hold the same object, so what is found out by one is known to all.
    known.freshUntil = freshUntil
    this.#known.set(digest, known, { size: token.length })
    return known
  }
}

function callerOf (token: string, digest: string, { principal, agent, expiresAt }: Claimed, goodUntil: number): Caller {
  return { session: `jwt_${digest.slice(0, 16)}`, principal, agent, expiresAt: goodUntil, subject: { token: new Secret(token), digest, expiresAt } }
}
