import { setMaxListeners } from 'node:events'
import { pause, type Clock } from '../clock.js'
import { KeyedLock } from './keyed-lock.js'
import { LeaseLostError, StateError, type Lease } from './store.js'

/** One try of this process at one lease, in the medium that all share. Each method may throw what the medium says. */
export interface Claim {
  /** @returns true once it is taken, else the milliseconds after which to try again */
  take (): Promise<true | number>
  /** Starts its time anew. @returns false where somebody else has had it since */
  renew (): Promise<boolean>
  /** Gives it back, where it is still this claim's. */
  release (): Promise<void>
}

export interface LeaseTimes {
  readonly clock: Clock
  /** Milliseconds for which a lease is held without a sign of life of who holds it. */
  readonly leaseMs: number
  /** Milliseconds after which whoever waits for a lease is refused. */
  readonly waitMs: number
}

export const LEASE_MS = 10_000
export const WAIT_MS = 30_000

/** A lease that is held, for as long as its claim is renewed in time. */
class HeldLease<C extends Claim> implements Lease {
  readonly claim: C
  readonly #key: string
  readonly #times: LeaseTimes
  readonly #lost = new AbortController()
  /** When the last successful take or renewal was begun: the medium counts from then or later, so this side is never the longer one. */
  #since: number
  #ended = false
  #cancel: Array<() => void> = []

  constructor (key: string, claim: C, since: number, times: LeaseTimes) {
    this.claim = claim
    this.#key = key
    this.#since = since
    this.#times = times
    this.#renewLater()
    this.#watch()
  }

  get lost (): AbortSignal {
    return this.#lost.signal
  }

  held (): boolean {
    if (this.#left() <= 0) this.#lose()
    return !this.#ended && !this.lost.aborted
  }

  end (): void {
    this.#ended = true
    for (const cancel of this.#cancel) cancel()
  }

  #left (): number {
    return this.#since + this.#times.leaseMs - this.#times.clock.elapsed()
  }

  /** For good: work that was told that it has lost the lease may have stopped half-way. */
  #lose (): void {
    if (!this.#ended) this.#lost.abort(new LeaseLostError(this.#key))
  }

  #renewLater (): void {
    this.#cancel[0] = this.#times.clock.after(this.#times.leaseMs / 3, () => { void this.#renew() })
  }

  async #renew (): Promise<void> {
    if (!this.held()) return
    const since = this.#times.clock.elapsed()
    // A medium that fails now may be back before the time is up.
    const renewed = await this.claim.renew().catch(() => undefined)
    if (renewed === false) this.#lose()
    if (!this.held()) return
    if (renewed === true) this.#since = since
    this.#renewLater()
  }

  #watch (): void {
    this.#cancel[1] = this.#times.clock.after(Math.max(1, this.#left()), () => { if (this.held()) this.#watch() })
  }
}

/**
 * The part of leasing that does not depend on where leases are kept: who waits in this process, for how long, and the
 * signs of life while work goes on.
 */
export class Leases<C extends Claim> {
  readonly #claim: (key: string) => C
  readonly #times: LeaseTimes
  readonly #here = new KeyedLock()
  readonly #held = new WeakMap<Lease, C>()
  readonly #closing = new AbortController()
  /** Per key the one that waits for the other processes; everybody else in this process waits for that one. */
  readonly #waiting = new Map<string, () => void>()

  constructor (claim: (key: string) => C, times: LeaseTimes) {
    this.#claim = claim
    this.#times = times
    // One for each lease that is waited for.
    setMaxListeners(0, this.#closing.signal)
  }

  /** As `Store.lease`. @throws {StateError} where it is not had within `waitMs` */
  async run<T> (key: string, work: (lease: Lease) => Promise<T>): Promise<T> {
    const { clock, waitMs } = this.#times
    const until = clock.elapsed() + waitMs
    return await new Promise<T>((resolve, reject) => {
      let gaveUp = false
      const cancel = clock.after(waitMs, () => {
        gaveUp = true
        reject(this.#refusal(key))
      })
      this.#here.run(key, async () => {
        cancel()
        if (!gaveUp) resolve(await this.#hold(key, until, work))
      }).catch(reject)
    })
  }

  /** @throws {LeaseLostError} where it is no lease of this store */
  claimOf (key: string, lease: Lease): C {
    const claim = this.#held.get(lease)
    if (claim === undefined) throw new LeaseLostError(key)
    return claim
  }

  /** Somebody has given this lease back: whoever waits for it tries at once. */
  wake (key: string): void {
    this.#waiting.get(key)?.()
  }

  /** Whoever waits is refused; what is held goes on until its work has ended. */
  close (): void {
    this.#closing.abort()
  }

  async #hold<T> (key: string, until: number, work: (lease: Lease) => Promise<T>): Promise<T> {
    const claim = this.#claim(key)
    const lease = new HeldLease(key, claim, await this.#take(key, claim, until), this.#times)
    this.#held.set(lease, claim)
    try {
      return await work(lease)
    } finally {
      lease.end()
      // Where that fails it runs out by itself.
      await claim.release().catch(() => {})
    }
  }

  /** @returns when it was taken, by the clock that measures durations */
  async #take (key: string, claim: C, until: number): Promise<number> {
    const { clock } = this.#times
    for (;;) {
      if (this.#closing.signal.aborted) throw new StateError('the state store is closed')
      const at = clock.elapsed()
      const again = await claim.take()
      if (again === true) return at
      const left = until - clock.elapsed()
      if (left <= 0) throw this.#refusal(key)
      await this.#wait(key, Math.min(again, left))
    }
  }

  async #wait (key: string, ms: number): Promise<void> {
    const woken = new AbortController()
    const wake = (): void => woken.abort()
    this.#waiting.set(key, wake)
    this.#closing.signal.addEventListener('abort', wake, { once: true })
    // Not all at the same moment.
    await pause(this.#times.clock, ms * (1 + 0.25 * this.#times.clock.random()), woken.signal)
    this.#closing.signal.removeEventListener('abort', wake)
    this.#waiting.delete(key)
  }

  #refusal (key: string): StateError {
    const { waitMs, leaseMs } = this.#times
    return new StateError(`the lease on ${key} was not to be had within ${waitMs / 1000} s: other work on it goes on for longer, here or in another process that shares the state. One that has died holds it for ${leaseMs / 1000} s at most`)
  }
}
