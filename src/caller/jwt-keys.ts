import { createRemoteJWKSet, customFetch, type RemoteJWKSet } from 'jose'
import type { Clock } from '../clock.js'
import type { JwtCallersConfig } from '../config/jwt-config.js'
import { fetchJson, IssuerError } from './fetch-json.js'
import { discoverKeys } from './jwt-discovery.js'

/** Milliseconds for which a set of keys is used; from half of it on a newer one is looked for in the background. */
const MAX_AGE = 10 * 60_000
/** Tokens that name an unknown key cost the issuer one request in this time, however many there are. */
const COOL_DOWN = 30_000
/** The wait after the first failure; doubled with each further one, up to the cool-down. */
const FIRST_WAIT = 1_000

/** The issuer's keys cannot be had for now. */
export class IssuerUnavailable extends Error {
  readonly reason: string
  /** Seconds. */
  readonly retryAfter: number

  constructor (reason: string, waitMs: number) {
    super(reason)
    this.name = 'IssuerUnavailable'
    this.reason = reason
    this.retryAfter = Math.max(1, Math.ceil(waitMs / 1000))
  }
}

interface Failure { readonly count: number, readonly reason: string, readonly retryAt: number }

/**
 * The public keys of one issuer (RFC 7517). jose fetches and reads a set; when to fetch is decided here, as jose's own
 * cool-down counts from the last success only: while an issuer is down, each token would cost it a request.
 */
export class IssuerKeys {
  readonly #config: Pick<JwtCallersConfig, 'issuer' | 'jwksUri'>
  readonly #clock: Clock
  readonly #onFailure: (reason: string, count: number) => void
  #set: RemoteJWKSet | undefined
  /** Monotonic milliseconds, as are all here. */
  #loadedAt = -Infinity
  #loading: Promise<RemoteJWKSet> | undefined
  #failure: Failure | undefined

  /** @param onFailure is told why the keys could not be had, and how often in a row that was so */
  constructor (config: Pick<JwtCallersConfig, 'issuer' | 'jwksUri'>, clock: Clock, onFailure: (reason: string, count: number) => void) {
    this.#config = config
    this.#clock = clock
    this.#onFailure = onFailure
  }

  /** @throws {IssuerUnavailable} where there are none that are fresh enough */
  async current (): Promise<RemoteJWKSet> {
    const age = this.#clock.elapsed() - this.#loadedAt
    if (this.#set === undefined || age >= MAX_AGE) return await this.#load()
    // Half-way, so that an issuer that is down for some minutes is not noticed.
    if (age >= MAX_AGE / 2) this.#load().catch(() => {})
    return this.#set
  }

  /**
   * Keys that are newer than those that knew no key for a token; undefined where the issuer was asked a moment ago.
   * @throws {IssuerUnavailable}
   */
  async newerThan (tried: RemoteJWKSet): Promise<RemoteJWKSet | undefined> {
    if (this.#set !== tried) return this.#set
    if (this.#clock.elapsed() - this.#loadedAt < COOL_DOWN) return undefined
    return await this.#load()
  }

  /** Milliseconds until it is worth asking the issuer again; 0 where it is now. */
  get wait (): number {
    return Math.max(0, (this.#failure?.retryAt ?? 0) - this.#clock.elapsed())
  }

  async #load (): Promise<RemoteJWKSet> {
    if (this.#loading !== undefined) return await this.#loading
    if (this.#failure !== undefined && this.wait > 0) throw new IssuerUnavailable(this.#failure.reason, this.wait)
    this.#loading = this.#fetch().finally(() => { this.#loading = undefined })
    return await this.#loading
  }

  async #fetch (): Promise<RemoteJWKSet> {
    try {
      const url = this.#config.jwksUri ?? await discoverKeys(this.#config.issuer)
      const set = keySet(url)
      await set.reload()
      this.#set = set
      this.#loadedAt = this.#clock.elapsed()
      this.#failure = undefined
      return set
    } catch (error) {
      const reason = error instanceof IssuerError ? error.reason : 'its key set is not what RFC 7517 asks for'
      const count = (this.#failure?.count ?? 0) + 1
      const wait = Math.min(COOL_DOWN, FIRST_WAIT * 2 ** (count - 1))
      this.#failure = { count, reason, retryAt: this.#clock.elapsed() + wait }
      this.#onFailure(reason, count)
      throw new IssuerUnavailable(reason, wait)
    }
  }
}

/** A set that never fetches by itself: its age is judged here, on our own clock. */
function keySet (url: URL): RemoteJWKSet {
  return createRemoteJWKSet(url, {
    cooldownDuration: Infinity,
    cacheMaxAge: Infinity,
    [customFetch]: async (href) => Response.json(await fetchJson(href, 'its key set')),
  })
}
